// An open model: when each message of a room is due, whatever became of those before. Pure.
//
// k6's own arrival-rate executors begin iterations, and an iteration ends with its sockets; a socket that stays cannot be fed by
// them. So rooms are paced here by the same arithmetic: rates that change linearly from stage to stage.

/** Stages are `{seconds, rate, phase}`: the rate that is reached at the stage's end, beginning from `from`. */
export class Pace {
  /** `share` is this room's part of the rate; `turn`, from 0 to 1, keeps rooms from sending at the same moments. */
  constructor(from, stages, share = 1, turn = 0) {
    this._turn = turn;
    this._segments = [];
    this._named = stages.some(({ phase }) => phase !== undefined);
    let begin = 0;
    let before = 0;
    let rate = from * share;
    for (const stage of stages) {
      const reached = stage.rate * share;
      const count = (rate + reached) / 2 * stage.seconds;
      this._segments.push({ begin, seconds: stage.seconds, before, count, rate, slope: stage.seconds > 0 ? (reached - rate) / stage.seconds : 0, phase: stage.phase });
      begin += stage.seconds;
      before += count;
      rate = reached;
    }
    /** How long it goes on, in seconds. */
    this.seconds = begin;
    /** How many messages that makes. */
    this.total = before;
  }

  /** When the message with this number, from 0, is due, in seconds; Infinity after the last. */
  due(number) {
    const wanted = number + this._turn;
    if (wanted >= this.total) return Infinity;
    const segment = this._segments.find(({ before, count }) => wanted < before + count);
    const left = wanted - segment.before;
    // The time in which `left` messages fall due: rate·t + slope·t²/2 = left, in the form that also holds for a slope of 0.
    const root = Math.sqrt(Math.max(0, segment.rate ** 2 + 2 * segment.slope * left));
    return segment.begin + (left === 0 ? 0 : 2 * left / (segment.rate + root));
  }

  /** The name of the stage at a time. */
  phase(seconds) {
    if (!this._named) return undefined;
    for (const segment of this._segments) if (seconds < segment.begin + segment.seconds) return segment.phase;
    return this._segments.length ? this._segments[this._segments.length - 1].phase : undefined;
  }
}
