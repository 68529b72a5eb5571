package wasmworker

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// call is one function of module "wcluster". It answers an errno, or the value itself where ABI.md says so.
type call func(m *Machine, mem wasip1.Memory, p []uint64) uint64

// imports is the guest ABI: the guest's name, its parameters (i is i32, I is i64), the call. ABI.md is the reference.
var imports = []struct {
	name, params string
	call         call
}{
	{"version", "", version},
	{"worker_id", "", workerID},
	{"cpus", "", cpus},
	{"listen", "iiiii", listen},
	{"local_address", "iiii", localAddress},
	{"peer_address", "iiii", peerAddress},
	{"watch", "iiI", watch},
	{"wait", "iiIi", wait},
	{"inbox", "i", inbox},
	{"send", "iiii", send},
	{"receive", "iii", receive},
	{"on_message", "iiii", onMessage},
	{"dispatch", "i", dispatch},
	{"disconnect", "i", disconnect},
	{"destroy", "i", destroy},
	{"setup_master", "ii", setupMaster},
	{"settings", "iii", settings},
	{"fork", "iii", fork},
	{"workers", "iii", workers},
	{"worker_info", "ii", workerInfo},
	{"kill", "ii", kill},
	{"on_event", "iiii", onEvent},
}

// functions is the guest ABI over m.
func (m *Machine) functions() []wasip1.Function {
	fns := make([]wasip1.Function, 0, len(imports))
	for _, im := range imports {
		call := im.call
		fns = append(fns, wasip1.Function{
			Name: im.name, Params: wasip1.Signature(im.params), Results: wasip1.Signature("i"),
			Call: func(_ context.Context, mod api.Module, stack []uint64) {
				stack[0] = call(m, wasip1.Memory{Memory: mod.Memory()}, stack)
			},
		})
	}
	return fns
}

func u32(p uint64) uint32                { return api.DecodeU32(p) }
func answer(e wasip1.Errno) uint64       { return uint64(e) }
func fail(e wasip1.Errno) (uint64, bool) { return uint64(e), e != 0 }

func version(*Machine, wasip1.Memory, []uint64) uint64        { return abi.Version }
func workerID(m *Machine, _ wasip1.Memory, _ []uint64) uint64 { return uint64(m.config.ID) }
func cpus(m *Machine, _ wasip1.Memory, _ []uint64) uint64     { return uint64(m.config.CPUs) }

// listen is (spec, len, backlog, flags, *fd).
func listen(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	spec, errno := mem.Bytes(u32(p[0]), u32(p[1]))
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.Writable(u32(p[4]), 4)); bad {
		return e
	}
	if len(spec) > abi.MaxSpec || u32(p[3])&^abi.ListenIPv6Only != 0 {
		return answer(abi.EINVAL)
	}
	addr, err := abi.ParseAddress(string(spec))
	if err != nil {
		return answer(abi.EINVAL)
	}
	if e, bad := fail(m.sys.Room()); bad {
		return e // before the master opens what could not be handed out
	}
	backlog := int(min(u32(p[2]), 1<<16-1)) // the kernel clamps it again, to net.core.somaxconn
	fd, opened, errno := m.services.Listen(addr, backlog, u32(p[3]))
	if e, bad := fail(errno); bad {
		return e
	}
	guest, errno := m.sys.OpenListener(fd, false, nil)
	if e, bad := fail(errno); bad {
		return e
	}
	opened()
	return answer(mem.PutU32(u32(p[4]), guest))
}

func localAddress(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	return putAddress(mem, p, m.sys.LocalAddress)
}

func peerAddress(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	return putAddress(mem, p, m.sys.PeerAddress)
}

// putAddress is (fd, buf, cap, *len). The length is stored also when the text does not fit: ERANGE.
func putAddress(mem wasip1.Memory, p []uint64, get func(uint32) ([]byte, wasip1.Errno)) uint64 {
	buf, errno := mem.Bytes(u32(p[1]), u32(p[2]))
	if e, bad := fail(errno); bad {
		return e
	}
	text, errno := get(u32(p[0]))
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.PutU32(u32(p[3]), uint32(len(text)))); bad {
		return e
	}
	if len(text) > len(buf) {
		return answer(abi.ERANGE)
	}
	copy(buf, text)
	return 0
}

// watch is (fd, interest, token).
func watch(m *Machine, _ wasip1.Memory, p []uint64) uint64 {
	return answer(m.sys.Watch(u32(p[0]), u32(p[1]), p[2]))
}

// wait is (*events, max, timeout, *n); timeout in nanoseconds, -1 for ever.
func wait(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	most := min(u32(p[1]), abi.MaxWait)
	timeout := int64(p[2])
	if most == 0 || timeout < -1 {
		return answer(abi.EINVAL)
	}
	out, errno := mem.Records(u32(p[0]), most, abi.EventSize)
	if e, bad := fail(errno); bad {
		return e
	}
	if e, bad := fail(mem.Writable(u32(p[3]), 4)); bad {
		return e
	}
	n := m.sys.Wait(m.events[:most], m.deadline(timeout))
	for i := range m.events[:n] {
		ev, rec := &m.events[i], out[i*abi.EventSize:]
		binary.LittleEndian.PutUint64(rec, ev.Token)
		binary.LittleEndian.PutUint32(rec[8:], ev.Fd)
		binary.LittleEndian.PutUint32(rec[12:], ev.Ready)
	}
	return answer(mem.PutU32(u32(p[3]), uint32(n)))
}

// deadline turns a timeout, -1 for ever, into the poller's time.
func (m *Machine) deadline(timeout int64) int64 {
	switch {
	case timeout < 0:
		return wasip1.Forever
	case timeout == 0:
		return 0
	}
	d := m.poller.Now() + timeout
	if d < 0 {
		return wasip1.Forever // beyond what 63 bits hold
	}
	return d
}

// inbox is (*fd): the same descriptor each time, until the guest closes it.
func inbox(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if e, bad := fail(mem.Writable(u32(p[0]), 4)); bad {
		return e
	}
	fd, open := m.inboxOpen()
	if !open {
		var errno wasip1.Errno
		fd, errno = m.sys.OpenVirtual(m.Inbox)
		if e, bad := fail(errno); bad {
			return e
		}
		m.inboxFD = fd
	}
	return answer(mem.PutU32(u32(p[0]), fd))
}

// inboxOpen finds the guest's descriptor for the inbox, where it was or where the guest has put it.
func (m *Machine) inboxOpen() (fd uint32, open bool) {
	if !m.sys.IsVirtual(m.inboxFD, m.Inbox) {
		fd, open := m.sys.FindVirtual(m.Inbox)
		if !open {
			return 0, false
		}
		m.inboxFD = fd
	}
	return m.inboxFD, true
}

// send is (target, buf, len, fd).
func send(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	target := int32(u32(p[0]))
	switch {
	case m.config.Master && target <= 0:
		return answer(abi.EINVAL) // the master is the sender
	case !m.config.Master && target != 0:
		return answer(abi.EPERM) // a worker talks to the master alone
	case int32(u32(p[3])) != -1:
		return answer(abi.ENOTSUP)
	}
	body, errno := mem.Bytes(u32(p[1]), u32(p[2]))
	if e, bad := fail(errno); bad {
		return e
	}
	if m.config.Master {
		errno = m.post(uint32(target), body)
	} else {
		errno = m.services.Send(body)
	}
	if errno == 0 {
		m.board.MessagesOut++
		if m.unsent == 0 {
			m.unsent = m.poller.Now()
		}
	}
	return answer(errno)
}

// receive is (buf, cap, *record).
func receive(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	buf, errno := mem.Bytes(u32(p[0]), u32(p[1]))
	if e, bad := fail(errno); bad {
		return e
	}
	rec, errno := mem.Bytes(u32(p[2]), abi.RecordSize)
	if e, bad := fail(errno); bad {
		return e
	}
	if m.Inbox.Empty() {
		return answer(abi.EAGAIN)
	}
	kind, from, body := m.Inbox.Peek()
	binary.LittleEndian.PutUint32(rec, kind)
	binary.LittleEndian.PutUint32(rec[4:], from)
	binary.LittleEndian.PutUint32(rec[8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(rec[12:], ^uint32(0)) // no descriptor: -1
	if len(body) > len(buf) {
		return answer(abi.EMSGSIZE)
	}
	copy(buf, body)
	m.take(kind)
	return 0
}

// take removes the first record from the inbox, which is of that kind.
func (m *Machine) take(kind uint32) {
	if kind >= abi.RecordSetup {
		m.staff.note(m.Inbox.Peek())
	}
	m.Inbox.Take()
	if kind == abi.RecordDisconnect {
		m.told = true
	}
}

// disconnect is (target).
func disconnect(m *Machine, _ wasip1.Memory, p []uint64) uint64 {
	target := int32(u32(p[0]))
	switch {
	case m.config.Master:
		return m.dismiss(target, abi.OpDisconnect)
	case target != 0:
		return answer(abi.EPERM) // others are the master role's to send away
	default:
		return answer(m.services.Leave())
	}
}

// destroy is (target).
func destroy(m *Machine, _ wasip1.Memory, p []uint64) uint64 {
	target := int32(u32(p[0]))
	switch {
	case m.config.Master:
		return m.dismiss(target, abi.OpDestroy)
	case target != 0:
		return answer(abi.EPERM) // others are the master role's to end
	default:
		m.services.Destroy()
		return 0
	}
}
