// What is left of a run: a page to read, figures for programs, and a few lines for the terminal. Pure but for where it is.
// The page is one file without scripts, fonts or anything else from elsewhere.

/** It must be there already: k6 makes no directories. */
const DIRECTORY = __ENV.RESULTS || import.meta.resolve('../results').replace(/^file:\/\//, '');

/** What to show first, and what each says. */
const GROUPS = [
  ['Promises', 'Each must be 0, or the run has failed: a message and member each.', {
    lost: 'confirmed, or stored, and never came to a member',
    duplicated: 'came to a member again, or is stored twice',
    out_of_order: 'came after a later one',
    phantom: 'refused or never sent, and came',
    not_recovered: 'came back, and was told that it was not recovered',
    excused: 'not asked for, because the member was not recovered',
    messages_unconfirmed: 'nobody can say whether it was stored, after all repeats',
  }],
  ['Messages', 'Sent ones are confirmed, or say why not.', {
    messages_sent: 'handed to a socket, or to REST',
    messages_acked: 'confirmed: stored in PostgreSQL',
    messages_delivered: 'came to a member, the sender included',
    messages_retried: 'sent again with the same tempId',
    messages_unanswered: 'attempts left open though the connection held: no confirmation in time, TIMEOUT or INTERNAL',
    messages_rate_limited: 'refused by a rate limit: the load was not what it should be; switch the limits off',
    messages_overloaded: 'refused because there was more than the cluster could take',
    messages_refused: 'refused for another reason',
    requests_rate_limited: 'REST: 429',
    requests_overloaded: 'REST: 503',
  }],
  ['Times', 'In milliseconds. What is sent is timed from when it is handed over; whole milliseconds, so half of one too much on average.', {
    ack_ms: 'from a send to its confirmation, repeated ones included, if the connection held',
    delivery_ms: 'from a send to its arrival at one member',
    connect_ms: 'from the first attempt to being in the room',
    reconnect_ms: 'from a lost connection to being in the room again, pauses included',
    visit_ms: 'a whole visit: connect, enter, send, hear it, leave',
  }],
  ['Connections', '', {
    connected: 'share that got in',
    ws_sessions: 'WebSockets made',
    disconnects: 'connections lost, on purpose or not',
    reconnects: 'came back',
    recovered: 'share of those that were recovered',
    pings_answered: 'heartbeats',
    flows_finished: 'rooms, visits and other flows that came to their end',
    flows_unsettled: 'those that did not: ended by an error, or cut off',
    expected: 'share of checks that found what they expected',
  }],
  ['Was this the load that was asked for?', 'If not, the figures are of another load: give k6 more of a machine, or ask for less.', {
    late_ms: 'how much later than due messages were sent',
    sends_skipped: 'due, but nobody was connected or too many were under way',
    dropped_iterations: 'visits or requests that no VU was free for',
    http_req_failed: 'share of requests with an unexpected answer',
  }],
];

/** `handleSummary` of a script; messages, or requests, are sent for so many `seconds` of it. */
export function summary({ script, question, settings, seconds }) {
  return (data) => {
    const view = { script, question, settings, ended: new Date().toISOString(), seconds: data.state.testRunDurationMs / 1000, metrics: rated(data.metrics, seconds) };
    return {
      stdout: terminal(view),
      [`${DIRECTORY}/${script}.html`]: page(view),
      // Not all of what k6 gives: the users' tokens are in it.
      [`${DIRECTORY}/${script}.json`]: `${JSON.stringify({ ...view, passed: broken(view).length === 0, broken: broken(view) }, null, 2)}\n`,
    };
  };
}

/** What k6 calls a rate is by the whole run, in which users are made first: it is put right where it says something, and left out elsewhere. */
function rated(metrics, seconds) {
  const [, , messages] = GROUPS.find(([title]) => title === 'Messages');
  return Object.fromEntries(Object.entries(metrics).map(([name, metric]) => {
    if (metric.type !== 'counter') return [name, metric];
    const { rate, ...values } = metric.values;
    const shown = name.split('{')[0] in messages && !name.includes('{phase:');
    return [name, { ...metric, values: shown && seconds > 0 ? { ...values, rate: values.count / seconds } : values }];
  }));
}

function broken({ metrics }) {
  return Object.entries(metrics).flatMap(([name, { thresholds = {} }]) => (
    Object.entries(thresholds).filter(([, { ok }]) => !ok).map(([condition]) => `${name}: ${condition}`)));
}

const round = (value) => {
  if (value === undefined || value === null) return '–';
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
};

/** A metric's values in one line. */
function line({ type, values }) {
  if (type === 'trend') return `p50 ${round(values.med)}  p95 ${round(values['p(95)'])}  p99 ${round(values['p(99)'])}  max ${round(values.max)}  of ${round(values.count)}`;
  if (type === 'rate') return values.passes + values.fails > 0 ? `${round(values.rate * 100)} %  of ${round(values.passes + values.fails)}` : 'of none';
  if (type === 'counter') return `${round(values.count)}${values.rate > 0 ? `  (${round(values.rate)}/s)` : ''}`;
  return round(values.value);
}

function terminal(view) {
  const lines = ['', `${view.script}: ${view.question}`, ''];
  for (const [title, , names] of GROUPS) {
    const shown = Object.keys(names).filter((name) => view.metrics[name]);
    if (!shown.length) continue;
    lines.push(`  ${title}`);
    for (const name of shown) lines.push(`    ${name.padEnd(24)} ${line(view.metrics[name])}`);
  }
  const routes = routesOf(view.metrics);
  if (routes.length) lines.push('  Requests, in ms', ...routes.map((name) => `    ${/name:(.+)\}/.exec(name)[1].padEnd(32)} ${line(view.metrics[name])}`));
  const rows = phases(view.metrics);
  if (rows.length) {
    lines.push('  By phase');
    for (const { phase, get } of rows) {
      const of = (name, value) => round((get(name) || {})[value]);
      lines.push(`    ${phase.padEnd(24)} sent ${of('messages_sent', 'count')}  ack p50 ${of('ack_ms', 'med')} p99 ${of('ack_ms', 'p(99)')}  delivery p99 ${of('delivery_ms', 'p(99)')}  overloaded ${of('messages_overloaded', 'count')}  skipped ${of('sends_skipped', 'count')}  late p99 ${of('late_ms', 'p(99)')}`);
    }
  }
  const failures = broken(view);
  lines.push('', failures.length ? `  FAILED\n${failures.map((failure) => `    ${failure}`).join('\n')}` : '  passed', `  ${DIRECTORY}/${view.script}.html`, '', '');
  return lines.join('\n');
}

/** The submetrics of each phase, in their order. */
function phases(metrics) {
  const found = [];
  for (const name of Object.keys(metrics)) {
    const phase = /^ack_ms\{phase:(.+)\}$/.exec(name);
    if (phase) found.push(phase[1]);
  }
  return found.sort().map((phase) => ({ phase, get: (name) => (metrics[`${name}{phase:${phase}}`] || {}).values }));
}

const escape = (text) => String(text).replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[sign]));

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; --good: #27ae60; --bar: #2980b9; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 small { font-weight: normal; opacity: .7; } h2 { margin-top: 2rem; } p { max-width: 48rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { display: inline-block; padding: .2rem .8rem; border-radius: .3rem; color: #fff; background: var(--good); } .verdict.bad, tr.bad td:first-child { background: var(--bad); color: #fff; }
.bar { fill: var(--bar); } svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: currentColor; } code { font-size: 90%; }`;

function page(view) {
  const failures = broken(view);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(view.script)}</title><style>${STYLE}</style></head><body>
<h1>${escape(view.script)} <small>${escape(view.ended)}, ${round(view.seconds)} s</small></h1>
<p>${escape(view.question)}</p>
<p><span class="verdict${failures.length ? ' bad' : ''}">${failures.length ? `${failures.length} of the conditions do not hold` : 'all conditions hold'}</span></p>
${failures.length ? `<ul>${failures.map((failure) => `<li><code>${escape(failure)}</code></li>`).join('')}</ul>` : ''}
${byPhase(view.metrics)}${GROUPS.map((group) => section(view.metrics, ...group)).join('')}${requests(view.metrics)}${others(view.metrics)}
<h2>Settings</h2><table>${Object.entries(view.settings).map(([name, value]) => `<tr><td>${escape(name)}</td><td><code>${escape(JSON.stringify(value))}</code></td></tr>`).join('')}</table>
</body></html>
`;
}

function section(metrics, title, remark, names) {
  const rows = Object.keys(names).filter((name) => metrics[name]);
  if (!rows.length) return '';
  const trends = rows.filter((name) => metrics[name].type === 'trend');
  const plain = rows.filter((name) => metrics[name].type !== 'trend');
  return `<h2>${escape(title)}</h2>${remark && `<p>${escape(remark)}</p>`}${trends.length ? `${trendTable(metrics, trends, names)}${bars(metrics, trends)}` : ''}${plain.length ? `<table>${plain.map((name) => (
    row(metrics[name], `<td><code>${escape(name)}</code></td><td>${escape(names[name])}</td><td class="n">${escape(line(metrics[name]))}</td><td>${conditions(metrics[name])}</td>`))).join('')}</table>` : ''}`;
}

function row({ thresholds = {} }, cells) {
  return `<tr${Object.values(thresholds).some(({ ok }) => !ok) ? ' class="bad"' : ''}>${cells}</tr>`;
}

function conditions({ thresholds = {} }) {
  return Object.entries(thresholds).map(([condition, { ok }]) => `<code>${escape(condition)}</code> ${ok ? '✓' : '✗'}`).join('<br>');
}

const SHOWN = [['med', 'p50'], ['p(90)', 'p90'], ['p(95)', 'p95'], ['p(99)', 'p99'], ['p(99.9)', 'p99.9'], ['max', 'max'], ['count', 'of']];

function trendTable(metrics, names, words = {}) {
  const head = SHOWN.map(([, title]) => `<th class="n">${title}</th>`).join('');
  const rows = names.map((name) => row(metrics[name], `<td><code>${escape(name)}</code></td><td>${escape(words[name] || '')}</td>${SHOWN.map(([value]) => `<td class="n">${round(metrics[name].values[value])}</td>`).join('')}<td>${conditions(metrics[name])}</td>`));
  return `<table><tr><th></th><th></th>${head}<th></th></tr>${rows.join('')}</table>`;
}

/** p50, p95 and p99 of each, on one logarithmic scale. */
function bars(metrics, names) {
  const all = names.flatMap((name) => ['med', 'p(95)', 'p(99)'].map((value) => [name, value, metrics[name].values[value]])).filter(([, , ms]) => ms > 0);
  if (!all.length) return '';
  const least = Math.min(1, ...all.map(([, , ms]) => ms));
  const most = Math.max(10, ...all.map(([, , ms]) => ms));
  const width = (ms) => 620 * Math.log(ms / least) / Math.log(most / least);
  const drawn = all.map(([name, value, ms], index) => `<text x="0" y="${index * 18 + 13}">${escape(name)} ${value === 'med' ? 'p50' : value.replace(/[()]/g, '')}</text><rect class="bar" x="220" y="${index * 18 + 3}" height="12" width="${Math.max(1, width(ms)).toFixed(1)}"/><text x="${(226 + width(ms)).toFixed(1)}" y="${index * 18 + 13}">${round(ms)} ms</text>`);
  return `<svg viewBox="0 0 920 ${all.length * 18 + 4}" role="img" aria-label="times on a logarithmic scale">${drawn.join('')}</svg>`;
}

function byPhase(metrics) {
  const rows = phases(metrics);
  if (!rows.length) return '';
  const columns = [
    ['sent', 'messages_sent', 'count'], ['confirmed', 'messages_acked', 'count'], ['overloaded', 'messages_overloaded', 'count'], ['skipped', 'sends_skipped', 'count'], ['deliveries', 'messages_delivered', 'count'],
    ['ack p50', 'ack_ms', 'med'], ['ack p99', 'ack_ms', 'p(99)'], ['delivery p50', 'delivery_ms', 'med'], ['delivery p99', 'delivery_ms', 'p(99)'], ['late p99', 'late_ms', 'p(99)'],
  ];
  return `<h2>By phase</h2><table><tr><th></th>${columns.map(([title]) => `<th class="n">${title}</th>`).join('')}</tr>${rows.map(({ phase, get }) => (
    `<tr><td>${escape(phase)}</td>${columns.map(([, name, value]) => `<td class="n">${round((get(name) || {})[value])}</td>`).join('')}</tr>`)).join('')}</table>`;
}

function routesOf(metrics) {
  return Object.keys(metrics).filter((name) => name.startsWith('http_req_duration{name:')).sort();
}

/** Requests by route. */
function requests(metrics) {
  const names = routesOf(metrics);
  return names.length ? `<h2>Requests, in ms</h2>${trendTable(metrics, names)}` : '';
}

function others(metrics) {
  const known = new Set(GROUPS.flatMap(([, , names]) => Object.keys(names)));
  const rest = Object.keys(metrics).filter((name) => !known.has(name) && !/\{(phase|name):/.test(name)).sort();
  return `<h2>The rest</h2><p>k6's own figures have the requests in them by which users and rooms were made.</p><table>${rest.map((name) => row(metrics[name], `<td><code>${escape(name)}</code></td><td class="n">${escape(line(metrics[name]))}</td><td>${conditions(metrics[name])}</td>`)).join('')}</table>`;
}
