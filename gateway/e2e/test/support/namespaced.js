// Steps of a client of source 004, and the barrier that ends them.

import { chatRoom, client, namespacedMessage, namespacedUser, notification } from './dialects.js';
import { unique } from './people.js';
import { once, succeed } from './socket.js';

export const saying = (content) => (message) => message.content === content;

/** `auth:login` as `user`, and what is notified. */
export async function logIn(socket, user) {
  await succeed(socket, 'auth:login', { token: user.token, userType: 'user' });
  const told = await once(socket, 'system:notification');
  notification(told);
  namespacedUser(told.data, user);
  return told;
}

/** A socket of `user` that came with its token and said nothing yet. */
export const come = (t, user, options = {}) => client(t, 'namespaced', user, options);

export async function enter(socket, roomId) {
  await succeed(socket, 'chat:room:join', roomId);
  const joined = await once(socket, 'chat:room:joined');
  chatRoom(joined);
  return joined;
}

/** Says something, in the lobby without a `roomId`; `socket` is to be in the room. The message, as it hears it. */
export async function say(socket, roomId, content = unique()) {
  await succeed(socket, 'chat:message', roomId === undefined ? { content } : { content, roomId });
  const message = await once(socket, 'chat:message', saying(content));
  namespacedMessage(message);
  return message;
}

/** A last message that all of `sockets` wait for: what was to come before it has come. */
export async function barrier(speaker, roomId, ...sockets) {
  const content = unique('barrier');
  await succeed(speaker, 'chat:message', { content, roomId });
  await Promise.all(sockets.map((socket) => once(socket, 'chat:message', saying(content))));
}

/** A public room, made by `socket`. */
export async function publicRoom(socket, name = unique('Support Room')) {
  await succeed(socket, 'chat:room:create', { name });
  const room = await once(socket, 'chat:room:created', (told) => told.name === name);
  chatRoom(room);
  return room;
}
