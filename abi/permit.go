package abi

// Phase is how far a worker's conversation has come, as the master sees it. Some phases begin with a frame that the
// worker sent, the others with one that the master has queued: a worker cannot have an answer to what it was not sent. A
// worker that is told to disconnect while it starts is starting until its online comes, which it may have sent before it
// heard.
type Phase uint8

const (
	PhaseGreeting      Phase = iota // from the fork on: the worker has not said hello
	PhaseGreeted                    // hello has come; the worker has not been told what to be
	PhaseStarting                   // config has been sent: the worker loads its module
	PhaseOnline                     // online has come: the guest runs
	PhaseDisconnecting              // and disconnect has been sent, or leaving has come: the guest finishes
	PhaseCompiling                  // compile has been sent instead of config
	PhaseProbing                    // probe has been sent instead of config
	phaseEnd
)

// kinds is a set of Kind, bit k for kind k.
type kinds uint32

const _ = uint(32 - kindEnd) // every kind has its bit

func setOf(all ...Kind) (s kinds) {
	for _, k := range all {
		s |= 1 << k
	}
	return s
}

// atWork is what a worker may send while its guest runs. A guest that finishes may still do anything: a listen is
// answered with ECANCELED, because the worker may have asked before it heard.
var atWork = setOf(KindListen, KindListening, KindMessage, KindLeaving, KindPong, KindFault, KindDrained, KindRequest, KindPost)

// phases is the master's gate. Each set holds kinds that a worker sends; PROTOCOL.md shows the same table.
var phases = [phaseEnd]struct {
	name string
	may  kinds
}{
	PhaseGreeting:      {"greeting", setOf(KindHello)},
	PhaseGreeted:       {"greeted", 0},
	PhaseStarting:      {"starting", setOf(KindOnline, KindFault)},
	PhaseOnline:        {"online", atWork},
	PhaseDisconnecting: {"disconnecting", atWork},
	PhaseCompiling:     {"compiling", setOf(KindCompiled, KindFault)},
	PhaseProbing:       {"probing", setOf(KindProbed, KindFault)},
}

// Permitted tells whether a worker in that phase may send a frame of that kind. A worker that sends another is ended.
// The answer is false for a number that is no phase or no kind.
func Permitted(phase Phase, kind Kind) bool {
	return phase < phaseEnd && kind < kindEnd && phases[phase].may&(1<<kind) != 0
}

// String is the phase's name in PROTOCOL.md.
func (p Phase) String() string {
	if p < phaseEnd {
		return phases[p].name
	}
	return "no phase"
}

// Phases calls yield for every phase with its name, in order: for tests that want them all.
func Phases(yield func(Phase, string) bool) {
	for p := range phaseEnd {
		if !yield(p, p.String()) {
			return
		}
	}
}
