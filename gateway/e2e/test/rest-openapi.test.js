// The documents of both interfaces, and the page to read the first one with.

import assert from 'node:assert/strict';
import test from 'node:test';
import { failed, ok, request } from './support/rest.js';
import { gatewayUrl, PATIENCE_MS } from './support/cluster.js';
import { operations } from './support/openapi.js';

const limit = { timeout: 240_000 };

test('the document is OpenAPI 3.1 and describes each operation as a whole', limit, async () => {
  const { document, all } = await operations();
  assert.match(document.openapi, /^3\.1\./);
  assert.deepEqual(Object.keys(document.components.securitySchemes), ['token']);
  const ids = new Set(all.map(({ operation }) => operation.operationId));
  assert.equal(ids.size, all.length, 'operation ids are unique');
  for (const { name, path, operation } of all) {
    assert.ok(operation.summary, `${name} has a summary`);
    assert.equal(operation.tags?.length, 1, `${name} has one tag`);
    const statuses = Object.keys(operation.responses);
    assert.ok(statuses.some((status) => status.startsWith('2')), `${name} can succeed`);
    for (const status of statuses) {
      const response = operation.responses[status];
      assert.ok(response.description, `${name} ${status} says when`);
      assert.ok('X-Request-Id' in response.headers, `${name} ${status} names the request`);
      if (status >= '400' && !path.startsWith('/health')) {
        const { schema } = response.content['application/json'];
        assert.deepEqual(schema, { $ref: '#/components/schemas/Error' }, `${name} ${status} has the one shape of errors`);
      }
    }
    if (operation.security) assert.ok(statuses.includes('401'), `${name} asks for a token`);
    if (operation.requestBody) for (const status of ['400', '413', '415']) assert.ok(statuses.includes(status), `${name} ${status}`);
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, segment]) => segment);
    const described = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name);
    assert.deepEqual(described, inPath, `${name} describes its path`);
  }
});

test('every reference leads somewhere, and nothing is described that nobody refers to', limit, async () => {
  const { document } = await operations();
  const text = JSON.stringify(document);
  const referred = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name));
  assert.deepEqual([...referred].sort(), Object.keys(document.components.schemas).sort());
});

test('the page has what it needs without going anywhere else', limit, async () => {
  const fetched = async (path, headers = {}) => {
    const response = await fetch(new URL(path, gatewayUrl(0)), { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { response, text: await response.text() };
  };
  const { response, text } = await fetched('/api');
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/html/);
  assert.match(response.headers.get('content-security-policy'), /default-src 'self'/);
  const needed = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(needed.length >= 4);
  for (const path of needed) {
    for (const coding of ['gzip', 'identity']) {
      const file = await fetched(path, { 'accept-encoding': coding });
      assert.equal(file.response.status, 200, path);
      assert.ok(file.text.length > 0, path);
    }
  }
  const bundle = await fetched('/api/docs/swagger-ui-bundle.js', { 'accept-encoding': 'gzip' });
  assert.match(bundle.text, /SwaggerUIBundle/);
  failed(await request('GET', '/api/docs/nothing.js'), 404, 'NOT_FOUND');
  failed(await request('GET', '/api/docs/..%2fCargo.toml'), 404, 'NOT_FOUND');
});

test('the socket events are described, too', limit, async () => {
  const document = ok(await request('GET', '/api/asyncapi.json'), 200);
  assert.match(document.asyncapi, /^3\./);
  const text = JSON.stringify(document);
  for (const event of ['sendMessage', 'send_message', 'chat.sendMessage', 'chat:message']) assert.ok(text.includes(event), event);
});

test('the page does not hide the rooms behind it', limit, async () => {
  assert.ok(Array.isArray(ok(await request('GET', '/api/rooms'), 200)));
  for (const path of ['/api/nothing', '/api/rooms/system/nothing', '/api/rooms/no-such-room/users']) {
    failed(await request('GET', path), 404, 'NOT_FOUND');
  }
});
