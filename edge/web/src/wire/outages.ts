// When a network is away, as the simulator's outages are; knows no message and no delay.

/** Nothing passes for `lastsS`: by the clock, or by chance, where both times are exponential means. */
export interface Outage {
  kind: "cycle" | "chance";
  /** From the beginning of one to the beginning of the next. */
  everyS: number;
  lastsS: number;
  /** Of a cycle, since the network was taken. */
  beginsS: number;
}

/** A number of [0, 1). */
export type Uniform = () => number;

interface Absence {
  beginsS: number;
  endsS: number;
}

/** The outages of one network, from the moment on at which it was taken. */
export class Away {
  // Of each outage by chance those that are not over, as they come.
  private readonly known = new Map<Outage, Absence[]>();

  /**
   * @param outages of the network.
   * @param beginsS when it was taken, on the caller's clock.
   * @param random of those by chance.
   */
  constructor(
    private readonly outages: Outage[],
    private readonly beginsS: number,
    private readonly random: Uniform,
  ) {}

  /** How long nothing passes from this moment on, in seconds; moments do not go back. */
  leftS(atS: number): number {
    for (const [one, absences] of this.known) {
      const ahead = absences.filter((absence) => absence.endsS > atS);
      this.known.set(one, ahead.length === 0 ? absences.slice(-1) : ahead);
    }
    let there = atS;
    for (let before = Number.NaN; before !== there; ) {
      before = there; // the end of one may lie within another
      for (const one of this.outages) {
        there = one.kind === "cycle" ? this.cycled(one, there) : this.chanced(one, there);
      }
    }
    return there - atS;
  }

  private cycled(one: Outage, atS: number): number {
    const since = (atS - this.beginsS - one.beginsS) % one.everyS;
    return atS + Math.max(0, one.lastsS - (since < 0 ? since + one.everyS : since));
  }

  private chanced(one: Outage, atS: number): number {
    const known = this.known.get(one) ?? [this.first(one, atS)];
    this.known.set(one, known);
    for (let last = known.at(-1); last !== undefined && last.endsS <= atS; last = known.at(-1)) {
      known.push(this.absence(one, last.endsS + this.draw(one.everyS - one.lastsS)));
    }
    const met = known.find((absence) => absence.endsS > atS);
    return met !== undefined && met.beginsS <= atS ? met.endsS : atS;
  }

  /** Whoever comes at any moment finds it away in its share of the time. */
  private first(one: Outage, atS: number): Absence {
    const away = this.random() < one.lastsS / one.everyS;
    return this.absence(one, away ? atS : atS + this.draw(one.everyS - one.lastsS));
  }

  private absence(one: Outage, beginsS: number): Absence {
    return { beginsS, endsS: beginsS + this.draw(one.lastsS) };
  }

  private draw(meanS: number): number {
    return meanS * -Math.log1p(-this.random());
  }
}
