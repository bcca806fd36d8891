// Proxies in front of a gateway that break its promises, so that it can be seen whether the scripts notice.
//
//   node liar.mjs http://127.0.0.1:3000 lose repeat swap forget mute omit garble
//
// Prints a line with the fault and the port of each. Every TENTH event of one kind, over WebSockets, is
//   lose     not passed on to the client
//   repeat   passed on twice
//   swap     passed on after the next one
//   forget   (a client's sendMessage) not passed on to the gateway, but confirmed
//   mute     (the gateway's confirmation of one) not passed on to the client
// Of what each client is given that has come back
//   omit     the first is not passed on
// In answers to requests
//   garble   a field has another name
// Everything else passes as it is.

import { connect, createServer } from 'node:net';

const TENTH = 10;
const TEXT = 1;

const FAULTS = ['lose', 'repeat', 'swap', 'forget', 'mute', 'omit', 'garble'];

const [target, ...faults] = [new URL(process.argv[2]), ...process.argv.slice(3)];
for (const fault of faults) if (!FAULTS.includes(fault)) throw new Error(`there is no fault ${fault}`);

/** Cuts a byte stream into the head of an HTTP message and, after an upgrade, WebSocket frames. */
class Cutter {
  constructor() {
    this._rest = Buffer.alloc(0);
    this._upgraded = false;
  }

  /** Pieces as `{bytes, text}`; text is that of a whole text frame. */
  push(bytes, upgrades) {
    this._rest = Buffer.concat([this._rest, bytes]);
    const pieces = [];
    if (!this._upgraded) {
      const end = this._rest.indexOf('\r\n\r\n');
      if (end < 0) return pieces;
      const head = this._rest.subarray(0, end).toString('latin1');
      if (!upgrades.test(head)) {
        pieces.push({ bytes: this._rest });
        this._rest = Buffer.alloc(0);
        return pieces;
      }
      this._upgraded = true;
      pieces.push({ bytes: this._rest.subarray(0, end + 4) });
      this._rest = this._rest.subarray(end + 4);
    }
    for (let frame = this._frame(); frame; frame = this._frame()) pieces.push(frame);
    return pieces;
  }

  _frame() {
    const rest = this._rest;
    if (rest.length < 2) return null;
    const masked = (rest[1] & 0x80) !== 0;
    let length = rest[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (rest.length < 4) return null;
      length = rest.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (rest.length < 10) return null;
      length = Number(rest.readBigUInt64BE(2));
      at = 10;
    }
    const mask = masked ? rest.subarray(at, at + 4) : null;
    if (masked) at += 4;
    if (rest.length < at + length) return null;
    const payload = Buffer.from(rest.subarray(at, at + length));
    if (mask) for (let index = 0; index < length; index += 1) payload[index] ^= mask[index % 4];
    this._rest = rest.subarray(at + length);
    return { bytes: rest.subarray(0, at + length), text: (rest[0] & 0x0f) === TEXT ? payload.toString('utf8') : undefined };
  }
}

/** A text frame of a server's. */
function frame(text) {
  const payload = Buffer.from(text);
  if (payload.length < 126) return Buffer.concat([Buffer.from([0x81, payload.length]), payload]);
  const head = Buffer.from([0x81, 126, 0, 0]);
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

/** An answer with a field of another name, and as long. */
function garbled(bytes) {
  return Buffer.from(bytes.toString('latin1').replaceAll('"messages":', '"massages":'), 'latin1');
}

/** What becomes of an event that the gateway tells: the bytes for the client. */
class Teller {
  constructor(fault, tenth) {
    this._fault = fault;
    this._tenth = tenth;
    this._held = [];
    /** Whether the client has come back, and been told nothing yet. */
    this.back = false;
  }

  message(bytes) {
    const held = this._held.splice(0);
    if (held.length) return [bytes, ...held];
    switch (this._fault) {
      case 'lose': return this._tenth() ? [] : [bytes];
      case 'repeat': return this._tenth() ? [bytes, bytes] : [bytes];
      case 'swap':
        if (!this._tenth()) return [bytes];
        this._held.push(bytes);
        return [];
      case 'omit': {
        const first = this.back;
        this.back = false;
        return first ? [] : [bytes];
      }
      default: return [bytes];
    }
  }

  confirmation(bytes) {
    return this._fault === 'mute' && this._tenth() ? [] : [bytes];
  }
}

/** Passes on between a client and the gateway; `tenth` says whether it is the turn of this event. */
function pass(client, fault, tenth) {
  const gateway = connect(Number(target.port), target.hostname);
  const [up, down] = [new Cutter(), new Cutter()];
  const teller = new Teller(fault, tenth);
  client.on('data', (bytes) => {
    for (const piece of up.push(bytes, /^upgrade: *websocket/im)) {
      const send = piece.text && /^42\/chat,(\d+)\["sendMessage"/.exec(piece.text);
      if (piece.text && piece.text.startsWith('40/chat,') && piece.text.includes('"pid"')) teller.back = true;
      if (fault === 'forget' && send && tenth()) client.write(frame(`43/chat,${send[1]}[{"success":true,"messageId":"0"}]`));
      else gateway.write(piece.bytes);
    }
  });
  gateway.on('data', (bytes) => {
    for (const piece of down.push(bytes, /^HTTP\/1\.1 101/)) {
      let passed = [piece.bytes];
      if (piece.text === undefined) passed = fault === 'garble' ? [garbled(piece.bytes)] : passed;
      else if (piece.text.startsWith('42/chat,["newMessage"')) passed = teller.message(piece.bytes);
      else if (piece.text.startsWith('43/chat,') && piece.text.includes('"messageId"')) passed = teller.confirmation(piece.bytes);
      for (const bytesOn of passed) client.write(bytesOn);
    }
  });
  for (const [one, other] of [[client, gateway], [gateway, client]]) {
    one.on('end', () => other.end());
    one.on('error', () => other.destroy());
  }
}

for (const fault of faults) {
  let seen = 0;
  const tenth = () => {
    seen += 1;
    return seen % TENTH === 0;
  };
  const server = createServer((client) => pass(client, fault, tenth));
  server.listen(0, '127.0.0.1', () => console.log(`${fault} ${server.address().port}`));
}
