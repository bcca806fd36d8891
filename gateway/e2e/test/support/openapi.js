// The document of the REST routes, as the cluster serves it.

import { ok, request } from './rest.js';

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** `{document, all: [{name: 'GET /path', method, path, operation}]}` */
export async function operations() {
  const document = ok(await request('GET', '/api/openapi.json'), 200);
  const all = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      operation: item[method],
    })),
  );
  return { document, all };
}
