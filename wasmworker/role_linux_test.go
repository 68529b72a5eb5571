package wasmworker

import (
	"reflect"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// roleCalls are the calls of the master role with harmless arguments.
func roleCalls(a *assembly) []string {
	return []string{
		callWith(a.wcluster("setup_master", "ii"), bufferAt, 0),
		callWith(a.wcluster("settings", "iii"), bufferAt, 64, recordAt),
		callWith(a.wcluster("fork", "iii"), bufferAt, 0, recordAt),
		callWith(a.wcluster("workers", "iii"), bufferAt, 4, recordAt),
		callWith(a.wcluster("worker_info", "ii"), 3, bufferAt),
		callWith(a.wcluster("kill", "ii"), 3, 15),
		callWith(a.wcluster("on_event", "iiii"), 0, 0, bufferAt, 16),
	}
}

func TestAWorkerMayNotPlayTheMaster(t *testing.T) {
	r, got := script(t, nil, roleCalls)
	wantErrnos(t, got, abi.EPERM, abi.EPERM, abi.EPERM, abi.EPERM, abi.EPERM, abi.EPERM, abi.EPERM)
	if len(r.requests) != 0 {
		t.Errorf("requests %+v", r.requests)
	}
}

func TestStaffFollowsTheEventsThatWereTaken(t *testing.T) {
	var s staff
	s.join(1, 100)
	s.join(2, 200)
	s.note(abi.RecordOnline, 1, nil)
	s.note(abi.RecordListening, 2, nil)
	s.note(abi.RecordDisconnected, 1, []byte{0, 0, 0, 0})
	s.note(abi.RecordDisconnecting, 2, nil)
	s.note(abi.RecordDisconnected, 9, nil) // nobody
	want := map[uint32]*member{
		1: {state: abi.StateDisconnected, pid: 100, suicide: 1},
		2: {state: abi.StateDisconnecting, pid: 200, suicide: 2},
	}
	if !reflect.DeepEqual(s.members, want) {
		t.Errorf("members %+v", s.members)
	}
	s.note(abi.RecordExit, 1, nil)
	if got := s.ids(); len(got) != 1 || got[0] != 2 {
		t.Errorf("ids %v", got)
	}
}
