// A fault of the real client that tests meet when they break connections: it can go deaf.
//
// engine.io-client (6.6.8) stops polling when its WebSocket's probe was answered, and waits for the poll that is still out. If the
// WebSocket is lost before that poll is answered, the upgrade has failed, but the client does not go back to polling: `upgrading`
// stays true and the polling transport paused. It has no connection then and asks for none, so no server and no proxy can tell it
// anything; it takes itself for connected, keeps what it is told to send, and cannot even be closed. Its ping timeout ends that,
// pingInterval + pingTimeout after the last ping: 85 seconds with Confab's defaults.
//
// Nothing here but `abandon` may be used where the test itself has not broken a connection: there, a deaf client is the server's fault.

/** Whether `socket` is deaf. An upgrade that goes well is never seen like this: it passes through this state without a pause. */
export function isDeaf(socket) {
  const { engine } = socket.io;
  return engine?.readyState === 'open' && engine.upgrading && engine.transport.readyState === 'paused';
}

/** Spares a test the wait: if `socket` is deaf, its ping timeout is over now. Hands back whether it was. */
export function endDeafness(socket) {
  const deaf = isDeaf(socket);
  if (deaf) socket.io.engine._onClose('ping timeout');
  return deaf;
}

/** For a client whose test is over: one that is deaf, or closing while it changes over, would keep this process for as long as it waits. */
export function abandon(socket) {
  const { engine } = socket.io;
  if (engine?.upgrading && engine.readyState !== 'closed') engine._onClose('forced close');
}
