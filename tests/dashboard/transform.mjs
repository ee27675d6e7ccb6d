// Runs a panel's transformations as Grafana's browser does: {transformations, frames} as JSON on stdin, frames on stdout.
// Packages are those of the working directory: they take hundreds of megabytes, and lie outside the checkout.
// @grafana/data expects a browser's globals when it is loaded, so it is loaded after they are there; and as CommonJS,
// because Node cannot load what its other form imports from moment-timezone.
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const require = createRequire(`${process.cwd()}/`);
const { JSDOM } = require('jsdom');
const page = new JSDOM('<!doctype html>', { url: 'http://localhost' });
globalThis.window = page.window;
for (const name of ['document', 'localStorage', 'HTMLElement', 'Element', 'Node', 'DOMParser']) {
  globalThis[name] ??= page.window[name];
}
const grafana = require('@grafana/data');
const { firstValueFrom } = require('rxjs');

// The registry refuses an id that comes twice, and one transformation is exported under two names.
const transformers = new Map(Object.values(grafana.standardTransformers).map((each) => [each.id, each]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    editor: () => null,
    transformation: () => transformation, // Grafana loads each when it is first used
  }))
);

const { transformations, frames } = JSON.parse(await text(process.stdin));
const unknown = transformations.map((each) => each.id).filter((id) => !transformers.has(id));
if (unknown.length > 0) {
  throw new Error(`@grafana/data has no transformation ${unknown.join(', ')}`);
}
const transformed = await firstValueFrom(
  grafana.transformDataFrame(transformations, frames.map((frame) => grafana.toDataFrame(frame)))
);
const shown = transformed.map((frame) => ({
  refId: frame.refId ?? null,
  fields: frame.fields.map((field) => ({
    name: grafana.getFieldDisplayName(field, frame, transformed),
    type: field.type,
    values: Array.from(field.values, (value) => value ?? null),
  })),
}));
process.stdout.write(JSON.stringify(shown));
