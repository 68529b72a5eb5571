package abi

import "strconv"

// Kind says what a frame is.
type Kind uint8

// Side is an end of the channel; in a rule, a set of them.
type Side uint8

const (
	Master Side = 1 << iota
	Worker
)

func (s Side) String() string {
	switch s {
	case Master:
		return "master"
	case Worker:
		return "worker"
	default:
		return "both"
	}
}

// The kinds, in the order of a worker's life. PROTOCOL.md says what each carries and when it may be sent.
const (
	KindHello      Kind = 1 + iota // both: Hello; always the first frame each way
	KindConfig                     // master: Config, with the module, the scoreboard and the listeners
	KindCompile                    // master, to a compiler: Compile, with the module
	KindCompiled                   // compiler: Report
	KindOnline                     // worker: the guest is about to start
	KindListen                     // worker: Listen; asks for a socket
	KindListenDone                 // master: ListenDone, with the socket unless it carries an error
	KindListening                  // worker: Listening; the guest waits on a socket for the first time
	KindMessage                    // both: opaque bytes
	KindDisconnect                 // master: finish and leave
	KindLeaving                    // worker: the guest asked to leave by itself
	KindNudge                      // master: look at the listeners again
	KindPing                       // master: answer with Pong
	KindPong                       // worker: the answer
	KindFault                      // worker: Fault; why the process is about to exit
	KindDrained                    // worker: Drained; nothing is left to finish, the channel closes next
	KindProbe                      // master, to a probe: which layers of the sandbox can be put on here?
	KindProbed                     // probe: Probed
	KindRequest                    // master role: Request; what a guest master wants done
	KindResult                     // master: Result
	KindEvent                      // master, to the master role: Event
	KindPost                       // both, master role: a message to or from a worker, whose id comes first
	kindEnd
)

// rule is what may be said of every frame of a kind without knowing the state of the conversation.
type rule struct {
	name     string
	from     Side
	body     body
	fds      uint16 // at most so many descriptors
	answered bool   // carries a seq: it is a request or an answer; any other has seq 0
}

// body says what a frame's body is, and with it how long it may be.
type body uint8

const (
	none   body = iota
	small       // JSON of at most MaxSmallControl
	large       // JSON of at most MaxControl
	opaque      // bytes, at most a message
	post        // PostHead bytes, then at most a message
)

func (r *rule) maxBody(maxMessage uint32) uint32 {
	switch r.body {
	case small:
		return MaxSmallControl
	case large:
		return MaxControl
	case opaque:
		return maxMessage
	case post:
		return maxMessage + PostHead
	default:
		return 0
	}
}

var rules = [kindEnd]rule{
	KindHello:      {name: "hello", from: Master | Worker, body: small},
	KindConfig:     {name: "config", from: Master, body: large, fds: ConfigFDs + MaxPreopens},
	KindCompile:    {name: "compile", from: Master, body: small, fds: 1},
	KindCompiled:   {name: "compiled", from: Worker, body: large},
	KindOnline:     {name: "online", from: Worker},
	KindListen:     {name: "listen", from: Worker, body: small, answered: true},
	KindListenDone: {name: "listen-done", from: Master, body: small, fds: 1, answered: true},
	KindListening:  {name: "listening", from: Worker, body: small},
	KindMessage:    {name: "message", from: Master | Worker, body: opaque},
	KindDisconnect: {name: "disconnect", from: Master},
	KindLeaving:    {name: "leaving", from: Worker},
	KindNudge:      {name: "nudge", from: Master},
	KindPing:       {name: "ping", from: Master, answered: true},
	KindPong:       {name: "pong", from: Worker, answered: true},
	KindFault:      {name: "fault", from: Worker, body: large},
	KindDrained:    {name: "drained", from: Worker, body: small},
	KindProbe:      {name: "probe", from: Master},
	KindProbed:     {name: "probed", from: Worker, body: small},

	KindRequest: {name: "request", from: Worker, body: large, answered: true},
	KindResult:  {name: "result", from: Master, body: large, answered: true},
	KindEvent:   {name: "event", from: Master, body: large},
	KindPost:    {name: "post", from: Master | Worker, body: post},
}

// rule is nil for a number that is no kind.
func (k Kind) rule() *rule {
	if k == 0 || k >= kindEnd {
		return nil
	}
	return &rules[k]
}

// MaxFrameFDs is the most descriptors that any one frame of that side carries.
func MaxFrameFDs(from Side) int {
	most := 0
	for _, r := range rules[KindHello:] {
		if r.from&from != 0 {
			most = max(most, int(r.fds))
		}
	}
	return most
}

// String is the kind's name in PROTOCOL.md.
func (k Kind) String() string {
	if r := k.rule(); r != nil {
		return r.name
	}
	return "kind " + strconv.Itoa(int(k))
}

// Kinds calls yield for every kind with its name, in order: for tests that want them all.
func Kinds(yield func(Kind, string) bool) {
	for k := KindHello; k < kindEnd; k++ {
		if !yield(k, k.String()) {
			return
		}
	}
}
