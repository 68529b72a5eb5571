package wasmworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// flushAfter is how long a sent message may lie in the outbox of a guest that goes on making host calls.
const flushAfter = int64(time.Millisecond)

// Config is what a machine is made of.
type Config struct {
	ID       uint32
	Master   bool // the guest plays the master role
	Args     []string
	Env      []string
	CPUs     uint32
	Module   []byte // the Wasm binary; not used after Load
	CacheDir string
	Debug    bool
	Board    *Board

	// MaxMemory bounds the guest's linear memory in bytes, rounded down to pages of 64 KiB. 0: as much as there is. A
	// guest that was refused more and then ends by a trap or with an exit code other than 0 has a Fault that says so.
	MaxMemory int64
}

// Services is what the surrounding process does for the guest. They are called on the machine's thread, from within
// a host call.
type Services struct {
	// Listen obtains a listening socket, non-blocking and this process's own, and what is to be called once it is open
	// for the guest. It may wait in the poller.
	Listen func(addr abi.Address, backlog int, flags uint32) (fd int, opened func(), errno wasip1.Errno)

	// Send queues a message for the master: EAGAIN when the queue is full, EMSGSIZE when it is longer than any may be,
	// EPIPE when the worker is leaving and its channel takes no more.
	Send func(body []byte) wasip1.Errno

	// Writable says whether Send would take a message now. Flush makes queued messages leave.
	Writable func() bool
	Flush    func()

	// Leave makes the worker disconnect, as if the master had asked, but by its own wish.
	Leave func() wasip1.Errno

	// Destroy makes the worker end at once, by its own wish: it does not return.
	Destroy func()

	// Request has the master do something, in the master role, and waits for its answer in the poller. Post queues a
	// message for a worker, like Send.
	Request func(*abi.Request) *abi.Result
	Post    func(worker uint32, body []byte) wasip1.Errno
}

// Machine is one guest and all it can reach.
type Machine struct {
	Inbox *Inbox

	config   Config
	services Services
	sys      *wasip1.System
	poller   *wasip1.Poller
	board    *Board
	limit    memoryLimit

	rt    wazero.Runtime
	close func()
	code  wazero.CompiledModule

	inboxFD uint32 // where the guest's descriptor for the inbox was last
	unsent  int64  // when the oldest unsent message was queued, in nanoseconds; 0: none is
	events  [abi.MaxWait]wasip1.WaitEvent
	callback
	onEvents callback // what on_event has registered
	staff    staff
	told     bool // the guest has been told to disconnect and has taken the record
}

// New makes a machine around sys, which has the standard streams and the preopened listeners.
func New(c Config, sys *wasip1.System, services Services) *Machine {
	m := &Machine{config: c, services: services, sys: sys, poller: sys.Poller(), board: c.Board, limit: limitOf(c.MaxMemory)}
	m.Inbox = &Inbox{board: c.Board, writable: services.Writable}
	m.poller.BeforeWait = m.beforeWait
	m.poller.AfterWait = func() { m.board.State = uint64(abi.StateGuest) }
	m.poller.BeforeFile = func() { m.board.State = uint64(abi.StateFile) }
	m.poller.AfterFile = m.poller.AfterWait
	return m
}

func (m *Machine) beforeWait() {
	m.flush()
	m.board.State = uint64(abi.StateWaiting)
}

func (m *Machine) flush() {
	m.unsent = 0
	m.services.Flush()
}

// Load compiles the module, or finds it in the cache, and gives it what it imports. Nothing of the guest runs yet.
func (m *Machine) Load(ctx context.Context) error {
	rt, close, err := engine(ctx, m.config.CacheDir, m.config.Debug)
	if err != nil {
		return err
	}
	m.rt, m.close = rt, close
	for _, host := range m.hostModules() {
		b := rt.NewHostModuleBuilder(host.name)
		for _, f := range host.functions {
			b.NewFunctionBuilder().WithGoModuleFunction(m.counted(f.Call), f.Params, f.Results).Export(f.Name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("provide module %q: %w", host.name, err)
		}
	}
	m.code, err = compile(ctx, rt, m.config.Module)
	m.config.Module = nil
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	if why := cannotRun(m.code); why != "" {
		return fmt.Errorf("load module: %s", why)
	}
	return nil
}

// Close gives back the guest's memory and code. A worker process never needs it.
func (m *Machine) Close() {
	if m.close != nil {
		m.close()
	}
}

// hostModule is a module that guests import from.
type hostModule struct {
	name      string
	functions []wasip1.Function
}

func (m *Machine) hostModules() []hostModule {
	return []hostModule{
		{wasip1.ModuleName, m.sys.Functions()},
		{abi.ImportModule, m.functions()},
		{"env", m.assemblyScript()},
	}
}

// counted makes every host call seen on the scoreboard, and lets no message lie for long.
func (m *Machine) counted(call api.GoModuleFunc) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		m.board.Calls++
		if m.unsent != 0 && m.poller.Now()-m.unsent >= flushAfter {
			m.flush()
		}
		call(ctx, mod, stack)
	}
}

// entries are the functions that a guest is run by, in order.
var entries = []string{"_initialize", "_start"}

// Run starts the guest and answers how it ended. A module without _start is a reactor that nothing calls: it is
// initialized, and has ended.
func (m *Machine) Run(ctx context.Context) Result {
	m.board.State = uint64(abi.StateGuest)
	ctx = withMemory(ctx, &m.board.Memory, &m.limit)
	mod, err := m.instantiate(ctx)
	if err != nil {
		return m.ended(err, abi.FaultStart)
	}
	m.callback.module = mod
	for _, name := range entries {
		if f := mod.ExportedFunction(name); f != nil {
			if _, err := f.Call(ctx); err != nil {
				return m.ended(err, abi.FaultTrap)
			}
		}
	}
	return Result{}
}

// instantiate makes the guest's memory and runs the module's own start function. Our allocator panics when there is no
// room for the memory, or the limit does not allow it.
func (m *Machine) instantiate(ctx context.Context) (mod api.Module, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *initialError:
			err = r
		default:
			err = fmt.Errorf("make the guest's memory: %v", r)
		}
	}()
	// No start functions: wazero would hide their exit code 0 and its text would carry its own prefix. No name: the
	// module's own, in its name section, could collide with one of ours.
	return m.rt.InstantiateModule(ctx, m.code, wazero.NewModuleConfig().WithStartFunctions().WithName(""))
}

// ended is resultOf, but a fault inside a callback is told as it was there and not as the host call it ran in, and what
// the limit of memory has to do with it is told as well.
func (m *Machine) ended(err error, reason abi.FaultReason) Result {
	if m.callback.failed != nil {
		err, reason = m.callback.failed, abi.FaultTrap
	}
	var initial *initialError
	if errors.As(err, &initial) {
		reason = abi.FaultLimit
	}
	return m.limit.blame(resultOf(err, reason))
}

// Told says whether the guest has taken the record that tells it to disconnect, and so knows. Until it does, a drain
// does not end for want of connections.
func (m *Machine) Told() bool { return m.told }

// AwaitsRoom says whether the guest waits for room to send another message: it has more to say.
func (m *Machine) AwaitsRoom() bool { return m.sys.Awaits(m.Inbox)&wasip1.ReadyWrite != 0 }

// Aware says whether the guest reads its inbox, by descriptor or by callback, and so hears that it is to disconnect.
func (m *Machine) Aware() bool {
	_, open := m.inboxOpen()
	return open || m.callback.function != nil || m.onEvents.function != nil
}
