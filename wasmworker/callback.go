package wasmworker

import (
	"context"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental/table"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// callback is what on_message or on_event has registered. Only that of messages has module, running and failed: they are
// both's.
//
// wazero must never enter a function again before its last call has returned: the native stack is overwritten, and a
// guest could make it happen. The callback is a Function with a stack of its own, only dispatch calls it, and dispatch
// answers EBUSY while it runs.
type callback struct {
	module   api.Module
	function api.Function
	context  uint32
	buf, cap uint32
	running  bool
	stack    [5]uint64
	failed   error // a trap or exit inside it
}

// callbackParams is fn(context, from, ptr, len, fd).
var callbackParams = wasip1.Signature("iiiii")

// onMessage is (callback, context, buf, cap).
func onMessage(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	return m.register(mem, &m.callback, p)
}

// onEvent is (callback, context, buf, cap), in the master role.
func onEvent(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	if !m.config.Master {
		return answer(abi.EPERM)
	}
	return m.register(mem, &m.onEvents, p)
}

func (m *Machine) register(mem wasip1.Memory, c *callback, p []uint64) uint64 {
	if e, bad := fail(mem.Writable(u32(p[2]), u32(p[3]))); bad {
		return e
	}
	if m.callback.module == nil {
		return answer(abi.EBUSY) // called from the module's start function: it is not instantiated yet
	}
	f, errno := lookup(m.callback.module, u32(p[0]))
	if e, bad := fail(errno); bad {
		return e
	}
	c.function = f
	c.context, c.buf, c.cap = u32(p[1]), u32(p[2]), u32(p[3])
	return 0
}

// lookup finds the function at a table index. ENOTSUP: the module has no table, as when it was linked without
// --export-table; EINVAL: no function is there, or one of another type. wazero answers both with a panic.
func lookup(mod api.Module, index uint32) (f api.Function, errno wasip1.Errno) {
	defer func() {
		if r := recover(); r != nil {
			f, errno = nil, abi.EINVAL
			if r == "table index out of range" {
				errno = abi.ENOTSUP
			}
		}
	}()
	return table.LookupFunction(mod, 0, index, callbackParams, nil), 0
}

// dispatch is (timeout_ms): it delivers messages and events to their callbacks until the timeout has passed, -1 for never,
// or until the guest is told to disconnect, or, in the master role, the cluster has disconnected. With 0 it delivers what
// is there.
func dispatch(m *Machine, mem wasip1.Memory, p []uint64) uint64 {
	timeout := int64(int32(u32(p[0])))
	switch {
	case m.callback.running:
		return answer(abi.EBUSY)
	case m.callback.function == nil && m.onEvents.function == nil || timeout < -1:
		return answer(abi.EINVAL)
	}
	if timeout > 0 {
		timeout *= 1e6
	}
	deadline := m.deadline(timeout)
	for {
		for !m.Inbox.Empty() {
			kind, from, body := m.Inbox.Peek()
			if kind == abi.RecordDisconnect {
				m.take(kind)
				return answer(abi.ECANCELED)
			}
			if e, bad := fail(m.deliver(mem, kind, from, body)); bad {
				return e
			}
			if kind == abi.RecordDisconnected && from == 0 {
				return answer(abi.ECANCELED)
			}
			if deadline > 0 && m.poller.Now() >= deadline {
				return 0
			}
		}
		if deadline == 0 || deadline > 0 && m.poller.Now() >= deadline {
			return 0
		}
		m.poller.WaitOnce(deadline)
	}
}

// deliver takes the first record, a message or an event, and gives it to its callback; one that has none is dropped.
// EMSGSIZE: it does not fit the buffer and stays, for receive.
func (m *Machine) deliver(mem wasip1.Memory, kind, from uint32, body []byte) wasip1.Errno {
	c := &m.callback
	if kind != abi.RecordMessage {
		c = &m.onEvents
	}
	if c.function == nil {
		m.take(kind)
		return 0
	}
	buf, errno := mem.Bytes(c.buf, c.cap)
	if errno != 0 {
		return errno
	}
	if len(body) > len(buf) {
		return abi.EMSGSIZE
	}
	n := copy(buf, body)
	m.take(kind)
	c.stack = [5]uint64{uint64(c.context), uint64(from), uint64(c.buf), uint64(n), uint64(^uint32(0))}
	if kind != abi.RecordMessage {
		c.stack = [5]uint64{uint64(c.context), uint64(kind), uint64(from), uint64(c.buf), uint64(n)}
	}
	m.callback.running = true
	err := c.function.CallWithStack(context.Background(), c.stack[:])
	m.callback.running = false
	if err != nil {
		// Ends the guest: unwinds through the host call to Run, which tells the fault as it was here.
		m.callback.failed = err
		panic(err)
	}
	return 0
}
