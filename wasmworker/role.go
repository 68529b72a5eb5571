package wasmworker

import (
	"encoding/binary"
	"encoding/json"
	"strings"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// The calls of the master role. In a worker each answers EPERM.

// setupMaster is (json, len).
func setupMaster(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	text, errno := mem.Bytes(u32(p[0]), u32(p[1]))
	if e, bad := fail(errno); bad {
		return e
	}
	if len(text) > abi.MaxSetup {
		return answer(abi.E2BIG)
	}
	setup := new(abi.Setup)
	if len(text) > 0 && json.Unmarshal(text, setup) != nil {
		return answer(abi.EINVAL)
	}
	return answer(m.services.Request(&abi.Request{Op: abi.OpSetup, Setup: setup}).Errno)
}

// settings is (buf, cap, *len). The length is stored also when the text does not fit: ERANGE.
func settings(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	buf, errno := mem.Bytes(u32(p[0]), u32(p[1]))
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.Writable(u32(p[2]), 4)); bad {
		return e
	}
	done := m.services.Request(&abi.Request{Op: abi.OpSettings})
	if e, bad := fail(done.Errno); bad {
		return e
	}
	text := done.Setup.Text()
	if e, bad := fail(mem.PutU32(u32(p[2]), uint32(len(text)))); bad {
		return e
	}
	if len(text) > len(buf) {
		return answer(abi.ERANGE)
	}
	copy(buf, text)
	return 0
}

// fork is (env, len, *id); env is K=V entries, each ended by a zero byte.
func fork(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	text, errno := mem.Bytes(u32(p[0]), u32(p[1]))
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.Writable(u32(p[2]), 4)); bad {
		return e
	}
	if len(text) > abi.MaxSetup {
		return answer(abi.E2BIG)
	}
	var env []string
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		if len(text) > 0 {
			env = append(env, entry)
		}
	}
	done := m.services.Request(&abi.Request{Op: abi.OpFork, Env: env})
	if e, bad := fail(done.Errno); bad {
		return e
	}
	m.staff.join(done.ID, uint32(done.Pid))
	return answer(mem.PutU32(u32(p[2]), done.ID))
}

// workers is (*ids, max, *n): n is stored also when it is more than max, and then nothing else: ERANGE.
func workers(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	ids := m.staff.ids()
	most := u32(p[1])
	out, errno := mem.Records(u32(p[0]), min(most, uint32(len(ids))), 4)
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.PutU32(u32(p[2]), uint32(len(ids)))); bad {
		return e
	}
	if uint32(len(ids)) > most {
		return answer(abi.ERANGE)
	}
	for i, id := range ids {
		binary.LittleEndian.PutUint32(out[4*i:], id)
	}
	return 0
}

// workerInfo is (id, *info).
func workerInfo(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	out, errno := mem.Bytes(u32(p[1]), abi.WorkerInfoSize)
	if e, bad := fail(errno); bad {
		return e
	}
	w := m.staff.members[u32(p[0])]
	if w == nil {
		return answer(abi.ESRCH)
	}
	for i, v := range []uint32{u32(p[0]), w.state, w.pid, w.suicide} {
		binary.LittleEndian.PutUint32(out[4*i:], v)
	}
	return 0
}

// kill is (id, signal).
func kill(m *Machine, _ wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	return answer(m.services.Request(&abi.Request{Op: abi.OpKill, Target: u32(p[0]), Signal: int(int32(u32(p[1])))}).Errno)
}

// dismiss is disconnect and destroy in the master role: -1 is the whole cluster, which can only be disconnected.
func (m *Machine) dismiss(target int32, op abi.Op) uint64 {
	r := abi.Request{Op: op, Target: uint32(target)}
	switch {
	case target == -1 && op == abi.OpDisconnect:
		r = abi.Request{Op: abi.OpDisconnectAll}
	case target <= 0:
		return answer(abi.EINVAL)
	}
	errno := m.services.Request(&r).Errno
	if w := m.staff.members[r.Target]; errno == 0 && w != nil {
		w.suicide = 2 // at once, in the cluster API
	}
	return answer(errno)
}

// post is send in the master role.
func (m *Machine) post(target uint32, body []byte) wasip1.Errno {
	if m.staff.members[target] == nil {
		return abi.ESRCH
	}
	return m.services.Post(target, body)
}
