// Guests in public rooms, where they are let in.

import { dial, opened } from './socket.js';
import { ok, request } from './rest.js';
import { unique } from './people.js';

/** A guest enters a room for the time of the test `t`; the guest's id. */
export async function entered(t, roomId) {
  const username = unique('guest').replaceAll(' ', '_').slice(0, 32);
  const socket = await opened(dial(t, {}));
  await socket.timeout(10_000).emitWithAck('chat.addUser', { roomId, username });
  const present = ok(await request('GET', `/api/rooms/${roomId}/users?limit=100`), 200);
  const guest = present.find((user) => user.username === username);
  if (!guest) throw new Error(`${username} is not in ${roomId}: ${JSON.stringify(present)}`);
  return guest.id;
}
