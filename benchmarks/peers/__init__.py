"""What people use instead, written as they write it and tuned: Trainer, a bare loop, encode-once."""
