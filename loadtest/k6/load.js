// What does the cluster do under the load that is expected of it?
//
//   BASE_URL=http://127.0.0.1:3000,http://127.0.0.1:3001 k6 run loadtest/k6/load.js

import { chat } from './lib/chat.js';
import { common } from './lib/settings.js';

const settings = common({ users: 100, members: 5, rate: 50, visitRate: 2, postRate: 5, duration: '1m', ramp: '10s' });

export const { options, setup, room, visit, post, handleSummary } = chat({
  script: 'load',
  question: 'What does the cluster do under the load that is expected of it?',
  settings,
  from: settings.rate,
  stages: [{ seconds: settings.duration, rate: settings.rate }],
});
