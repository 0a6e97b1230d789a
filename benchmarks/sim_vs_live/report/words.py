"""What the page says in words; knows no number."""

CONTROLS = """In sixteen parts, in turns with sixteen of each network's, as many calls a second over
links that do not delay. The slowdown is fitted to them: by how many times each call beside it makes
one take longer in the cloud. What each then took more than virtual time has is added to the
network's calls, in an order of chance. Stolen is what the machine's host gave to others meanwhile,
of all cores. Others are the cores that other processes had on average in the part in which they had
most. Where they are not about 0, an error is as likely theirs as the simulator's."""

HEAD = """# The simulator, held against what it simulates

A cascade of the bundled models, each tier a process, the live proxy on each link; and the same
queries in virtual time. Three small models on the device (4 bits) that must agree, else the query
goes up: to the large one in the cloud, or to two at a gateway (8 bits) and then to the cloud. Each
cell has the live value, and by how much virtual time is off; KS is the largest distance of the two
distribution functions. Rounds have other queries, moments and losses each; the tables are of all of
them together, and one has what each was off alone: so much a machine differs from one quarter of an
hour to the next.

{findings}

Beside it, what others say of theirs: Vidur is within 9 % of measured latencies, LLMServingSim
within 1 % of vLLM. They simulate the server; here it is recorded or fitted, and what is simulated
are the networks, the climb and the queue. How many replicas a plan says, and how many live servers
take, is in [fleets.md](fleets.md#replicas-planned-and-live).

Under light load one query comes after the other. What each takes beside its network is recorded by
a second cascade of the same device that does not delay, and replayed on the network,
which virtual time draws {draws} times, under load {loaded}; live there is one draw of it a round.
Chance says which of the two is asked first.
More than half of the queries end on the device, so that p50 is what it takes for one, a millisecond
or two, and no network's; those sent on have p50s of the networks.
Between the two a machine's own noise remains: it is all that there is at 1 us. One answer takes
more or less from one time to the next by as much as most of these differences, so that the
intervals say more than the values. A third table has what the network's chance alone makes of a run
of so many queries: where it is nothing, all of an error is the machine's or the simulator's.
Queries of a tenth of a second come too fast for gRPC to ping ahead of each answer, as virtual time
has it: on wifi-good, which alone loses packets, that makes its mean 0.4 % too long.

Under load calls come at moments of chance, the same ones in virtual time, where they go through the
fleet's queue, and over as many connections as live: 16 of the device's link, one from the gateway
on. What stalls on one holds up what is behind it, and among that are gRPC's own pings, which go
ahead of an answer. They would keep the cloud at work for {share} of the time if it took one at a
time. Servers, clients and proxies share two cores. What that makes of a call is taken from a
control at the same load, over links that do not delay, of other queries at other moments: what is
held against live is the network, and the queue that it makes.
What the proxies take of the cores to delay is in live alone, for the control's links have no moment
to wait for: with three tiers 1.2 ms a call. As long as they spun for 2 ms before each moment it was
8 ms, a third of a core at 38 calls a second. On coe-10ms, in turns, while other programs had 1.3
cores, means of virtual time were then off by -9 and -5 %, its p95 by -11 and -5 %; with what they
do now by +1, 0 and -4 %, and by +3, -1 and -6 %. With two tiers means were off by -6, -6 and -8 %,
and now by -2, -2 and -8 %."""

ADDED = """What each call takes live beyond its own time, which is recorded where nothing delays,
against what virtual time adds to it: the correlation (of ranks), and the live seconds for each of
virtual time, from the third that it has wait least to the third that it has wait most. A queue that
virtual time has not cannot be seen in quantiles and means, for the control takes up what is
missing; which calls it is that wait, no control knows."""

CHANCE = """What one draw of the network is off by chance, 95 % of them, under load with what calls
take beside; "beyond" where an error is larger than is aimed at, and than this explains. The last
column has how many queries make the p95 of a draw differ by 3 % (root mean square), or as many as
there were:"""

FIRST_CALLS = """Over the kernel's own TCP and a network of 200 ms, in round trips; the rule is
what virtual time reckons with (`--dialled`) and what the live proxy does. Messages of more than ten
packets take more on a new connection (TCP's slow start), and after a pause: that is left out."""

TAIL = """## Do it again

<!-- not run: ten minutes of a machine that has nothing else to do -->

    make sim-vs-live
    make sim-vs-live ARGS="--queries 220 --calls 700 --rounds 3 --out FOLDER"
    make sim-vs-live ARGS="--report --out FOLDER"

The first takes ten minutes; the second, of this page, an hour. What is in the folder
(`runs/sim-vs-live`) is not measured again, so that one network may have more queries than the
others. A seed (`--seed 1`, and by ten more each round) decides queries, moments and networks; live
times differ from run to run."""
