// Socket.IO v5 packets within Engine.IO v4 messages: text to fields and back.
// Pure. Binary packets are refused: Confab's dialects send none.

export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;

/** What separates the packets of one polling body. */
export const SEPARATOR = '\x1e';

/** A packet as text. */
export function encode(type, namespace, data, id) {
  const place = namespace === '/' ? '' : `${namespace},`;
  return `${type}${place}${id === undefined ? '' : id}${data === undefined ? '' : JSON.stringify(data)}`;
}

const DIGIT = /[0-9]/;

/** The fields of a packet. Throws if it is none. */
export function decode(text) {
  const type = text.charCodeAt(0) - 48;
  if (!(type >= CONNECT && type <= CONNECT_ERROR)) throw new Error(`no packet that is understood here: ${text.slice(0, 40)}`);
  let at = 1;
  let namespace = '/';
  if (text[at] === '/') {
    const comma = text.indexOf(',', at);
    const end = comma < 0 ? text.length : comma;
    namespace = text.slice(at, end).split('?')[0];
    at = comma < 0 ? end : end + 1;
  }
  let digits = at;
  while (digits < text.length && DIGIT.test(text[digits])) digits += 1;
  const id = digits > at ? Number(text.slice(at, digits)) : undefined;
  const data = digits < text.length ? JSON.parse(text.slice(digits)) : undefined;
  const fits = {
    [CONNECT]: data === undefined || isObject(data),
    [DISCONNECT]: data === undefined,
    [EVENT]: Array.isArray(data) && typeof data[0] === 'string',
    [ACK]: Array.isArray(data) && id !== undefined,
    [CONNECT_ERROR]: isObject(data) || typeof data === 'string',
  }[type];
  if (!fits) throw new Error(`a malformed packet: ${text.slice(0, 40)}`);
  return { type, namespace, id, data };
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
