package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// sim runs a core against workers whose fates a script decides, in simulated time.
type sim struct {
	t     *testing.T
	core  *core
	now   time.Time
	begin time.Time
	last  uint32
	alive map[uint32]time.Time // when each ends by its fate; zero: never
	exits map[uint32]*master.Exit
	notes []Note
	forks []time.Duration // when
	quit  *Result
	abort map[uint32]string
	pings []uint32

	// fate says how long the next worker lives, whether it comes online first, and how it ends.
	fate func(id uint32) (lives time.Duration, online bool, e *master.Exit)
	fail error // what forking answers
}

func simulate(t *testing.T, p Policy) *sim {
	t.Helper()
	p, err := p.normalize(4)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &sim{
		t: t, now: now, begin: now, core: newCore(p, now, func() float64 { return 1 }),
		alive: map[uint32]time.Time{}, exits: map[uint32]*master.Exit{}, abort: map[uint32]string{},
		fate: func(uint32) (time.Duration, bool, *master.Exit) { return 0, true, nil },
	}
}

func (s *sim) do(todo []action) {
	for len(todo) > 0 {
		a := todo[0]
		todo = todo[1:]
		switch a := a.(type) {
		case fork:
			s.forks = append(s.forks, s.now.Sub(s.begin))
			if s.fail != nil {
				todo = append(todo, s.core.forkFailed(a.slot, s.fail, s.now)...)
				continue
			}
			s.last++
			lives, online, e := s.fate(s.last)
			todo = append(todo, s.core.forked(a.slot, s.last, s.now)...)
			s.alive[s.last], s.exits[s.last] = time.Time{}, e
			if e != nil {
				s.alive[s.last] = s.now.Add(lives)
			}
			if online {
				s.core.online(s.last, s.now)
			}
		case note:
			s.notes = append(s.notes, a.Note)
			if strings.Contains(a.Note.String(), "\n") {
				s.t.Errorf("note %q", a.Note)
			}
		case abort:
			s.abort[a.worker] = a.text
		case ping:
			s.pings = append(s.pings, a.worker)
		case quit:
			if s.quit != nil {
				s.t.Error("it quits twice")
			}
			s.quit = &a.Result
		}
	}
}

// run lets time pass, 10 ms at a time.
func (s *sim) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(10 * time.Millisecond) {
		for id, at := range s.alive {
			if !at.IsZero() && !at.After(s.now) {
				s.exit(id, s.exits[id])
			}
		}
		s.do(s.core.tick(s.now))
	}
}

func (s *sim) exit(id uint32, e *master.Exit) {
	delete(s.alive, id)
	s.do(s.core.exited(id, e, s.now))
}

func (s *sim) kinds() string {
	var all []string
	for _, n := range s.notes {
		all = append(all, map[NoteKind]string{
			NoteRestart: "restart", NoteReplaced: "replaced", NoteEnd: "end", NoteForkError: "fork-error", NoteDegraded: "degraded",
			NoteRecovered: "recovered", NoteGivenUp: "given-up",
		}[n.Kind])
	}
	return strings.Join(all, " ")
}

func crash() *master.Exit { return &master.Exit{Code: 1} }

func killed(sig syscall.Signal) *master.Exit { return &master.Exit{Code: -1, Signal: sig} }

func TestWhoIsReplaced(t *testing.T) {
	tests := []struct {
		name    string
		restart Restart
		exit    *master.Exit
		again   bool
		code    int
	}{
		{"on-failure ignores exit 0", OnFailure, &master.Exit{}, false, 0},
		{"on-failure replaces a crash", OnFailure, crash(), true, 0},
		{"on-failure replaces the killed", OnFailure, killed(syscall.SIGKILL), true, 0},
		{"on-failure does not replace suicide", OnFailure, &master.Exit{Suicide: true}, false, 0},
		{"always replaces exit 0", Always, &master.Exit{}, true, 0},
		{"always does not replace suicide", Always, &master.Exit{Suicide: true, Code: 3}, false, 3},
		{"destroy is suicide, and no failure", Always, &master.Exit{Suicide: true, Code: -1, Signal: syscall.SIGTERM}, false, 0},
		{"never replaces nobody", Never, crash(), false, 1},
		{"on-failure replaces a worker that was no worker", OnFailure, &master.Exit{Fault: &master.Fault{Reason: abi.FaultProtocol}}, true, 0},
		{"a fault is a failure whatever the exit code says", Never, &master.Exit{Fault: &master.Fault{Reason: abi.FaultProtocol}}, false, 1},
		{"a signal has a code like in a shell", Never, killed(syscall.SIGKILL), false, 137},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := simulate(t, Policy{Workers: 1, Restart: tt.restart})
			s.run(time.Second)
			s.exit(1, tt.exit)
			s.run(time.Second)
			if _, again := s.alive[2]; again != tt.again || (s.quit == nil) != tt.again {
				t.Fatalf("replaced %t, quit %v", again, s.quit)
			}
			if s.quit != nil && (s.quit.Code != tt.code || s.quit.Err != nil) {
				t.Errorf("result %+v", s.quit)
			}
		})
	}
}

func TestItEndsWithTheWorstCodeWhenNobodyIsLeft(t *testing.T) {
	s := simulate(t, Policy{Workers: 3, Restart: Never})
	s.run(time.Second)
	for i, code := range []int{2, 7, 0} {
		if s.quit != nil {
			t.Fatal("over too soon")
		}
		s.exit(uint32(i+1), &master.Exit{Code: code})
	}
	if s.quit == nil || s.quit.Code != 7 {
		t.Errorf("result %+v", s.quit)
	}
	if s.core.status() != (Status{State: Ended, Workers: 3}) {
		t.Errorf("status %+v", s.core.status())
	}
}

func TestBackoffDoublesAndIsReset(t *testing.T) {
	s := simulate(t, Policy{Workers: 1, Intensity: 1000, BackoffMax: time.Second})
	lives := time.Duration(0)
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return lives, true, crash() }
	s.run(4 * time.Second)
	// Each end is seen 10 ms after the fork.
	if got := fmt.Sprint(s.forks); got != "[0s 110ms 320ms 730ms 1.54s 2.55s 3.56s]" {
		t.Errorf("forks at %v", got)
	}
	s.forks, s.begin = nil, s.now
	lives = healthy
	s.run(12 * time.Second)
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 0, true, nil }
	s.run(time.Second)
	if n := len(s.forks); n != 2 {
		t.Fatalf("forks at %v", s.forks)
	}
	if gap := s.forks[1] - s.forks[0] - healthy; gap > 2*DefaultBackoffMin {
		t.Errorf("restarted %v after a long life", gap)
	}
}

func TestJitterStaysWithinBounds(t *testing.T) {
	p, _ := Policy{}.normalize(1)
	for n := 1; n < 40; n++ {
		for _, chance := range []float64{0, 0.5, 1} {
			full := min(p.BackoffMax, p.BackoffMin<<min(n-1, 20))
			if d := p.backoff(n, chance); d < full/2 || d > full {
				t.Errorf("back-off %d: %v, of %v", n, d, full)
			}
		}
	}
}

func TestACrashLoopIsDegradedAndBounded(t *testing.T) {
	s := simulate(t, Policy{Workers: 8})
	healthyOnes := map[uint32]bool{1: true, 2: true}
	s.fate = func(id uint32) (time.Duration, bool, *master.Exit) {
		if healthyOnes[id] {
			return 0, true, nil
		}
		return 50 * time.Millisecond, true, crash()
	}
	s.run(10 * time.Second)
	if s.core.state() != Degraded {
		t.Fatalf("state %v", s.core.state())
	}
	if st := s.core.status(); st.Alive < 2 || st.Restarts < DefaultIntensity || st.Restarts > 2*DefaultIntensity {
		t.Errorf("after 10 s: %+v", st)
	}
	before := len(s.forks)
	s.notes = nil
	s.run(time.Hour)
	perHour := len(s.forks) - before
	if most := int(2*time.Hour/DefaultBackoffMax) + 10; perHour > most || perHour < most/4 {
		t.Errorf("%d restarts in an hour of crashing, at most %d", perHour, most)
	}
	if most := int(time.Hour/noteInterval) + 1; len(s.notes) > most {
		t.Errorf("%d notes in an hour", len(s.notes))
	}
	if counted := func() (n int) {
		for _, note := range s.notes {
			n += note.Count
		}
		return n
	}(); counted < perHour-5 {
		t.Errorf("the notes count %d of %d", counted, perHour)
	}
	// It heals: the next ones live.
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 0, true, nil }
	s.notes = nil
	s.run(5 * time.Minute)
	if st := s.core.status(); st.State != Running || st.Online != 8 {
		t.Errorf("healed: %+v", st)
	}
	if got := s.kinds(); !strings.HasSuffix(got, "recovered") || strings.Count(got, "recovered") != 1 {
		t.Errorf("notes %q", got)
	}
}

// Workers that served and are killed from outside are replaced at once, however often, and whoever else crashes.
func TestKillsFromOutsideAreNoCrashLoop(t *testing.T) {
	oldest := func(s *sim) (id uint32) {
		for other := range s.alive {
			if id == 0 || other < id {
				id = other
			}
		}
		return id
	}
	t.Run("twenty kills in ten seconds", func(t *testing.T) {
		s := simulate(t, Policy{Workers: 2})
		s.run(time.Second)
		for range 20 {
			s.exit(oldest(s), killed(syscall.SIGKILL))
			s.run(served)
			if st := s.core.status(); st.State != Running || st.Online != 2 {
				t.Fatalf("after a kill: %+v", st)
			}
		}
		if st := s.core.status(); st.Restarts != 20 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("in a degraded cluster", func(t *testing.T) {
		s := simulate(t, Policy{Workers: 2})
		s.fate = func(id uint32) (time.Duration, bool, *master.Exit) {
			if id == 1 {
				return 0, true, nil
			}
			return 0, true, crash()
		}
		s.run(time.Minute)
		s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 0, true, nil }
		if s.core.state() != Degraded {
			t.Fatalf("state %v", s.core.state())
		}
		first := s.core.find(1)
		s.exit(1, killed(syscall.SIGKILL))
		s.run(2 * DefaultBackoffMin)
		if first.phase != up || s.core.state() != Degraded {
			t.Errorf("phase %v, state %v", first.phase, s.core.state())
		}
	})
	t.Run("but one that had no time to serve counts", func(t *testing.T) {
		s := simulate(t, Policy{Workers: 2})
		s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return served / 2, true, killed(syscall.SIGKILL) }
		s.run(20 * time.Second)
		if s.core.state() != Degraded {
			t.Errorf("state %v", s.core.state())
		}
	})
}

// Between two crashes of a single slot lies more than the quiet period, and that is no recovery.
func TestOneSlotThatCrashesForEverStaysDegraded(t *testing.T) {
	s := simulate(t, Policy{Workers: 1})
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 50 * time.Millisecond, true, crash() }
	s.run(time.Hour)
	if s.core.state() != Degraded || strings.Contains(s.kinds(), "recovered") {
		t.Errorf("state %v, notes %q", s.core.state(), s.kinds())
	}
}

func TestAFewRestartsAreNotDegraded(t *testing.T) {
	s := simulate(t, Policy{Workers: 8})
	s.run(time.Second)
	for id := range uint32(DefaultIntensity) {
		s.exit(id+1, crash())
	}
	s.run(time.Second)
	if st := s.core.status(); st.State != Running || st.Online != 8 || strings.Count(s.kinds(), "restart") != DefaultIntensity {
		t.Errorf("%+v %s", st, s.kinds())
	}
	// Each restart is said twice: when the worker ends, and when another has its place.
	for _, n := range s.notes {
		if n.Kind == NoteReplaced && (n.Replaces < 1 || n.Replaces > DefaultIntensity || n.Worker <= 8) {
			t.Errorf("worker %d replaces worker %d", n.Worker, n.Replaces)
		}
	}
	if got := strings.Count(s.kinds(), "replaced"); got != DefaultIntensity {
		t.Errorf("%d workers were replaced, %d times that was said", DefaultIntensity, got)
	}
}

func TestItGivesUpWhenNobodyStarts(t *testing.T) {
	s := simulate(t, Policy{Workers: 4})
	broken := &master.Exit{Code: 1, Fault: &master.Fault{Reason: abi.FaultStart, Text: "no import env.f"}}
	s.fate = func(id uint32) (time.Duration, bool, *master.Exit) {
		return time.Duration(id) * 20 * time.Millisecond, false, broken
	}
	s.run(time.Second)
	if s.quit == nil || s.quit.Code != 1 || s.quit.Err == nil || s.quit.Err.Error() != "start workers: no import env.f" {
		t.Fatalf("result %+v", s.quit)
	}
	if !strings.HasSuffix(s.kinds(), "given-up") {
		t.Errorf("notes %q", s.kinds())
	}
	forks := len(s.forks)
	s.run(time.Minute)
	if len(s.forks) != forks {
		t.Error("it forks after it gave up")
	}
}

func TestItGivesUpWhenEveryGuestTrapsAtItsStart(t *testing.T) {
	s := simulate(t, Policy{Workers: 2})
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) {
		return 20 * time.Millisecond, true, trap()
	}
	s.run(time.Second)
	if s.quit == nil || s.quit.Code != 1 || s.quit.Err == nil {
		t.Fatalf("result %+v", s.quit)
	}
}

func trap() *master.Exit {
	return &master.Exit{Code: 1, Fault: &master.Fault{Reason: abi.FaultTrap, Text: "unreachable"}}
}

func TestATrapIsNoReasonToGiveUpOnceAWorkerHasListened(t *testing.T) {
	s := simulate(t, Policy{Workers: 2})
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 0, true, nil }
	s.run(10 * time.Millisecond)
	s.core.listening(1)
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 20 * time.Millisecond, true, trap() }
	s.exit(1, trap())
	s.exit(2, trap())
	s.run(time.Minute)
	if s.quit != nil {
		t.Errorf("result %+v", s.quit)
	}
}

func TestItDoesNotGiveUpWhileOneHasStarted(t *testing.T) {
	s := simulate(t, Policy{Workers: 2})
	broken := &master.Exit{Code: 1, Fault: &master.Fault{Reason: abi.FaultStart, Text: "no"}}
	s.fate = func(id uint32) (time.Duration, bool, *master.Exit) {
		if id == 1 {
			return time.Second, true, crash()
		}
		return 0, false, broken
	}
	s.run(time.Minute)
	if s.quit != nil {
		t.Errorf("result %+v", s.quit)
	}
}

func TestForkErrorsAreTriedAgain(t *testing.T) {
	s := simulate(t, Policy{Workers: 2})
	s.fail = errors.New("start host: too many open files")
	s.run(500 * time.Millisecond)
	if s.quit != nil || !strings.HasPrefix(s.kinds(), "fork-error fork-error") {
		t.Fatalf("notes %q, quit %v", s.kinds(), s.quit)
	}
	s.fail = nil
	s.run(time.Minute)
	if st := s.core.status(); st.Online != 2 {
		t.Errorf("%+v", st)
	}
	// A cluster that is closing has no more workers to give.
	for _, err := range []error{master.ErrClosed, master.ErrDisconnecting} {
		s := simulate(t, Policy{Workers: 2})
		s.fail = fmt.Errorf("fork: %w", err)
		s.run(time.Second)
		if s.quit == nil {
			t.Errorf("%v: it goes on", err)
		}
	}
}

func TestNothingIsReplacedAfterStop(t *testing.T) {
	s := simulate(t, Policy{Workers: 3, Restart: Always})
	s.run(time.Second)
	s.exit(1, crash()) // waits for its restart
	s.core.stop()
	if s.core.state() != Stopping {
		t.Errorf("state %v", s.core.state())
	}
	s.exit(2, &master.Exit{Suicide: true})
	s.exit(3, &master.Exit{Suicide: true, Code: -1, Signal: syscall.SIGKILL, Fault: &master.Fault{Reason: master.FaultOverdue}})
	s.run(time.Minute)
	if len(s.alive) != 0 || s.quit != nil {
		t.Fatalf("alive %v, quit %v", s.alive, s.quit)
	}
	s.do(s.core.over())
	s.do(s.core.over())
	if s.quit == nil || s.quit.Code != 137 {
		t.Errorf("result %+v", s.quit)
	}
}

// watchOver looks at worker 1 every 100 ms; figures says what is to be seen.
func (s *sim) watchOver(d time.Duration, figures func(at time.Duration) master.Figures) (aborted time.Duration) {
	start := s.now
	for ; s.now.Sub(start) < d; s.now = s.now.Add(100 * time.Millisecond) {
		s.do(s.core.look([]seen{{worker: 1, figures: figures(s.now.Sub(start))}}, s.now, 100*time.Millisecond))
		if s.abort[1] != "" {
			return s.now.Sub(start)
		}
	}
	return -1
}

func TestStuckWorkersAreEnded(t *testing.T) {
	const never = time.Duration(-1)
	tests := []struct {
		name    string
		figures func(at time.Duration) master.Figures
		answer  bool // pings are answered
		at      time.Duration
		text    string
	}{
		{"a guest that spins", func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateGuest} }, false, 30 * time.Second, "stuck: no host call for 30s"},
		{"a guest that works", func(at time.Duration) master.Figures {
			return master.Figures{Activity: abi.StateGuest, Calls: uint64(at / (29 * time.Second))}
		}, false, never, ""},
		{"a guest that waits and answers", func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateWaiting} }, true, never, ""},
		{"a stopped process", func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateWaiting} }, false, 30 * time.Second, "stuck: no answer to a ping for 30s"},
		{"a stopped process whose channel is not read", func(time.Duration) master.Figures {
			return master.Figures{Activity: abi.StateWaiting, Paused: true}
		}, false, never, ""},
		{"a file call", func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateFile} }, false, never, ""},
		{"a guest that spins after a long wait", func(at time.Duration) master.Figures {
			if at < 20*time.Second {
				return master.Figures{Activity: abi.StateWaiting}
			}
			return master.Figures{Activity: abi.StateGuest, Calls: 1}
		}, false, 50 * time.Second, "stuck: no host call for 30s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := simulate(t, Policy{Workers: 1})
			s.do(s.core.tick(s.now))
			figures := tt.figures
			if tt.answer {
				figures = func(at time.Duration) master.Figures {
					if len(s.pings) > 0 {
						s.pings = nil
						s.core.answeredPing(1, s.now)
					}
					return tt.figures(at)
				}
			}
			at := s.watchOver(2*time.Minute, figures)
			if at < tt.at || at > tt.at+200*time.Millisecond || tt.at == never && at != never || s.abort[1] != tt.text {
				t.Errorf("ended at %v: %q; want %v: %q", at, s.abort[1], tt.at, tt.text)
			}
		})
	}
}

func TestAWorkerThatDoesNotComeOnlineIsEnded(t *testing.T) {
	s := simulate(t, Policy{Workers: 1})
	s.fate = func(uint32) (time.Duration, bool, *master.Exit) { return 0, false, nil }
	s.do(s.core.tick(s.now))
	at := s.watchOver(2*time.Minute, func(time.Duration) master.Figures { return master.Figures{} })
	if at != time.Minute || s.abort[1] != "stuck: not online 1m0s after its start" {
		t.Errorf("ended at %v: %q", at, s.abort[1])
	}
}

func TestNobodyIsStuckBecauseTheMasterWasHeldUp(t *testing.T) {
	s := simulate(t, Policy{Workers: 1})
	s.do(s.core.tick(s.now))
	waits := func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateWaiting} }
	s.watchOver(16*time.Second, waits) // a ping is under way
	if len(s.pings) != 1 {
		t.Fatalf("pings %v", s.pings)
	}
	s.now = s.now.Add(time.Hour)
	if at := s.watchOver(time.Second, waits); at >= 0 {
		t.Errorf("ended: %q", s.abort[1])
	}
	s.core.answeredPing(1, s.now)
	if at := s.watchOver(10*time.Second, waits); at >= 0 {
		t.Errorf("ended: %q", s.abort[1])
	}
}

func TestLimitsCanBeOff(t *testing.T) {
	s := simulate(t, Policy{Workers: 1, Timeout: -1, StartTimeout: -1})
	s.do(s.core.tick(s.now))
	spins := func(time.Duration) master.Figures { return master.Figures{Activity: abi.StateGuest} }
	if at := s.watchOver(time.Hour, spins); at >= 0 || len(s.pings) > 0 {
		t.Errorf("ended at %v, pings %v", at, s.pings)
	}
	if lookEvery(s.core.policy) != lookLeast {
		t.Error("looks too often")
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	for _, bad := range []Policy{
		{Workers: -1},
		{Workers: 1025},
		{Workers: 3, MaxWorkers: 2},
		{Restart: "sometimes"},
		{Intensity: -1},
		{Period: -1},
		{BackoffMin: -1},
		{BackoffMin: time.Second, BackoffMax: time.Millisecond},
	} {
		if _, err := bad.normalize(1); err == nil {
			t.Errorf("policy %+v was taken", bad)
		}
	}
	p, err := Policy{}.normalize(6)
	if err != nil || p.Workers != 6 || p.Restart != OnFailure || p.Intensity != 5 || p.BackoffMax != 30*time.Second {
		t.Errorf("defaults %+v, %v", p, err)
	}
}

// Whatever happens at whatever time, the bounds hold.
func TestRandomFates(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := simulate(t, Policy{Workers: 1 + r.IntN(8), Restart: []Restart{OnFailure, Always, Never}[r.IntN(3)]})
		s.core.chance = r.Float64
		s.fate = func(uint32) (time.Duration, bool, *master.Exit) {
			e := []*master.Exit{crash(), killed(syscall.SIGSEGV), {}, {Suicide: true}, nil}[r.IntN(5)]
			return time.Duration(r.IntN(30_000)) * time.Millisecond, r.IntN(4) > 0, e
		}
		for range 60 {
			s.run(time.Second)
			if r.IntN(100) == 0 {
				s.core.stop()
			}
			st := s.core.status()
			if st.Alive != len(s.alive) || st.Alive > st.Workers || st.Online > st.Alive {
				t.Fatalf("seed %d: %+v, alive %d", seed, st, len(s.alive))
			}
			if s.quit != nil && len(s.alive) > 0 {
				t.Fatalf("seed %d: over, with %d alive", seed, len(s.alive))
			}
		}
		window := map[time.Duration]int{}
		for _, at := range s.forks {
			window[at/DefaultPeriod]++
		}
		for at, n := range window {
			if n > s.core.policy.Workers+3*DefaultIntensity {
				t.Fatalf("seed %d: %d forks in period %d", seed, n, at)
			}
		}
	}
}
