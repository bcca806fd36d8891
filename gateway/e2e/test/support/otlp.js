// A collector of traces: takes what OTLP exporters send over HTTP, and hands back spans.
//
// It reads protobuf by itself, as little of it as spans need (opentelemetry-proto, trace.proto): what is checked here must not be read
// by the code that wrote it.

import { once } from 'node:events';
import http from 'node:http';
import { PATIENCE_MS } from './cluster.js';

/** The kinds of spans, by their numbers. */
export const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

/** A message's fields: number → values in order; numbers as BigInt, everything else as bytes. */
function fields(bytes) {
  const found = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length) => bytes.subarray(at, (at += length));
  while (at < bytes.length) {
    const key = Number(varint());
    const value = [varint, () => take(8).readBigUInt64LE(), () => take(Number(varint())), , , () => BigInt(take(4).readUInt32LE())][key & 7]();
    const number = key >> 3;
    found.set(number, [...(found.get(number) ?? []), value]);
  }
  const all = (number) => found.get(number) ?? [];
  return { all, one: (number) => all(number)[0], text: (number) => all(number)[0]?.toString() ?? '', hex: (number) => all(number)[0]?.toString('hex') ?? '' };
}

function attributes(list) {
  const read = (pair) => {
    const { text, one } = fields(pair);
    const value = fields(one(2));
    return [text(1), value.one(1)?.toString() ?? value.one(3) ?? value.one(2)];
  };
  return Object.fromEntries(list.map(read));
}

function spans(body) {
  return fields(body).all(1).flatMap((resourceSpans) => {
    const { one, all } = fields(resourceSpans);
    const resource = attributes(fields(one(1)).all(1));
    return all(2).flatMap((scoped) => fields(scoped).all(2)).map((bytes) => {
      const span = fields(bytes);
      return {
        resource,
        trace: span.hex(1),
        id: span.hex(2),
        parent: span.hex(4),
        name: span.text(5),
        kind: Number(span.one(6)),
        begun: span.one(7),
        ended: span.one(8),
        attributes: attributes(span.all(9)),
        links: span.all(13).map((link) => ({ trace: fields(link).hex(1), id: fields(link).hex(2) })),
        failed: span.all(15).some((status) => fields(status).one(3) === 2n),
      };
    });
  });
}

/** A collector for the time of the test `t`: where it is, and what it has been sent. */
export async function collector(t) {
  const received = { spans: [], bodies: [], problems: [] };
  const server = http.createServer(async (request, response) => {
    const chunks = await request.toArray();
    if (request.method !== 'POST' || request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf') {
      received.problems.push(`${request.method} ${request.url} ${request.headers['content-type']}`);
    }
    const body = Buffer.concat(chunks);
    received.bodies.push(body);
    received.spans.push(...spans(body));
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, ...received };
}

/** What `find` finds among the spans, as soon as it finds anything. */
export async function eventually(find, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = find();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not in time: ${typeof what === 'function' ? what() : what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}
