package wasmworker

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/wcluster/wcluster/abi"
)

// staff are the workers of a guest in the master role, as it has been told of them: what it has not taken from its inbox
// has not happened yet. So they agree with its own view, and asking costs no round trip.
type staff struct {
	members map[uint32]*member
}

// member is a worker, from the fork until its exit has been told.
type member struct {
	state, pid uint32
	suicide    uint32 // 0 while it is not set, then 1 for false and 2 for true
}

// join adds a worker that was forked.
func (s *staff) join(id, pid uint32) {
	if s.members == nil {
		s.members = map[uint32]*member{}
	}
	s.members[id] = &member{pid: pid}
}

// ids are those of the workers, in order.
func (s *staff) ids() []uint32 { return slices.Sorted(maps.Keys(s.members)) }

// note changes what an event's record tells of. Of a worker that left the list, or never was on it, nothing is to be noted.
func (s *staff) note(kind, from uint32, body []byte) {
	m := s.members[from]
	if m == nil {
		return
	}
	switch kind {
	case abi.RecordOnline:
		m.state = abi.StateOnline
	case abi.RecordListening:
		m.state = abi.StateListening
	case abi.RecordDisconnecting:
		m.state = abi.StateDisconnecting
		m.suicide = 2
	case abi.RecordDisconnected:
		m.state = abi.StateDisconnected
		m.suicide = 1
		if len(body) >= 4 && binary.LittleEndian.Uint32(body) != 0 {
			m.suicide = 2
		}
	case abi.RecordExit:
		delete(s.members, from)
	}
}
