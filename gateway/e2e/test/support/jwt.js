// Tokens by hand: such as the cluster must refuse, made from one that it accepts, and such as another issuer with its secret signs.

import { createHmac } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));

const HASHES = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' };

/** `token` with some claims replaced, signed anew; algorithm `none` leaves the signature empty. */
export function resign(token, { claims = {}, algorithm = 'HS256', secret }) {
  const [header, payload] = token.split('.');
  const signed = `${encode({ ...decode(header), alg: algorithm })}.${encode({ ...decode(payload), ...claims })}`;
  if (algorithm === 'none') return `${signed}.`;
  return `${signed}.${createHmac(HASHES[algorithm], secret).update(signed).digest('base64url')}`;
}

/** A token of `userId` as another issuer makes it who has the cluster's secret; good for an hour. */
export function issue(userId, secret) {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: userId, iat: seconds(), exp: seconds(3_600) })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Seconds since 1970, `offset` seconds from now. */
export function seconds(offset = 0) {
  return Math.floor(Date.now() / 1000) + offset;
}
