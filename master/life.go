package master

// A worker's life is one table: {phase, input} → {next phase, events}.
//
//	forked ─online→ online ─listening→ listening ─asked, leaving→ leaving ─closed→ disconnected ─ended→ dead
//
// Connected (its channel) and alive (its process) are two bits, and each may go first. A process that has ended while
// its channel may still hold frames is in one of the …Ended phases: the frames are taken as ever, and exit is held
// until the channel has closed. So disconnect always comes before exit.
type phase uint8

const (
	phaseForked phase = iota
	phaseOnline
	phaseListening
	phaseLeaving
	phaseForkedEnded
	phaseOnlineEnded
	phaseListeningEnded
	phaseLeavingEnded
	phaseDisconnected
	phaseDead
	phaseCount
)

// input is what may happen to a worker.
type input uint8

const (
	inOnline    input = iota // frame online
	inListening              // frame listening
	inAsked                  // Disconnect was called
	inLeaving                // frame leaving: the guest's own wish
	inClosed                 // end of the channel
	inEnded                  // the process has ended
	inputCount
)

// step is what an input does; a zero step is no step: the input changes nothing in that phase. Frames that are
// forbidden in a phase never come this far (permit.go).
type step struct {
	next phase
	emit []EventKind
	ok   bool
}

func to(next phase, emit ...EventKind) step { return step{next: next, emit: emit, ok: true} }

var steps = [phaseCount][inputCount]step{
	phaseForked: {
		inOnline: to(phaseOnline, EventOnline),
		inAsked:  to(phaseLeaving, EventDisconnecting),
		inClosed: to(phaseDisconnected, EventDisconnect),
		inEnded:  to(phaseForkedEnded),
	},
	phaseOnline: {
		inListening: to(phaseListening, EventListening),
		inAsked:     to(phaseLeaving, EventDisconnecting),
		inLeaving:   to(phaseLeaving, EventDisconnecting),
		inClosed:    to(phaseDisconnected, EventDisconnect),
		inEnded:     to(phaseOnlineEnded),
	},
	phaseListening: {
		inListening: to(phaseListening, EventListening),
		inAsked:     to(phaseLeaving, EventDisconnecting),
		inLeaving:   to(phaseLeaving, EventDisconnecting),
		inClosed:    to(phaseDisconnected, EventDisconnect),
		inEnded:     to(phaseListeningEnded),
	},
	// online and listening that cross the request to leave are not told: they would come after disconnecting.
	phaseLeaving: {
		inClosed: to(phaseDisconnected, EventDisconnect),
		inEnded:  to(phaseLeavingEnded),
	},

	phaseForkedEnded: {
		inOnline: to(phaseOnlineEnded, EventOnline),
		inClosed: to(phaseDead, EventDisconnect, EventExit, EventDeath),
	},
	phaseOnlineEnded: {
		inListening: to(phaseListeningEnded, EventListening),
		inLeaving:   to(phaseLeavingEnded, EventDisconnecting),
		inClosed:    to(phaseDead, EventDisconnect, EventExit, EventDeath),
	},
	phaseListeningEnded: {
		inListening: to(phaseListeningEnded, EventListening),
		inLeaving:   to(phaseLeavingEnded, EventDisconnecting),
		inClosed:    to(phaseDead, EventDisconnect, EventExit, EventDeath),
	},
	phaseLeavingEnded: {
		inClosed: to(phaseDead, EventDisconnect, EventExit, EventDeath),
	},

	phaseDisconnected: {
		inEnded: to(phaseDead, EventExit, EventDeath),
	},
	phaseDead: {},
}

func (p phase) connected() bool { return p < phaseDisconnected }

func (p phase) alive() bool { return p < phaseForkedEnded || p == phaseDisconnected }

func (p phase) leaving() bool { return p == phaseLeaving || p == phaseLeavingEnded }

// State is where a worker stands, as the events delivered so far have told.
type State uint8

// The states, in the order of a worker's life.
const (
	StateForked State = iota
	StateOnline
	StateListening
	StateDisconnecting
	StateDisconnected
	StateDead
)

var stateNames = [...]string{"forked", "online", "listening", "disconnecting", "disconnected", "dead"}

// String is the state's name, such as "listening".
func (s State) String() string { return stateNames[s] }

// stateAfter is the state that an event tells of; ok is false for events that change none.
func stateAfter(k EventKind) (s State, ok bool) {
	switch k {
	case EventOnline:
		return StateOnline, true
	case EventListening:
		return StateListening, true
	case EventDisconnecting:
		return StateDisconnecting, true
	case EventDisconnect:
		return StateDisconnected, true
	case EventExit:
		return StateDead, true
	default:
		return 0, false
	}
}
