package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Cluster is a master with its workers. Its methods may be called from anywhere, handlers included.
type Cluster struct {
	subs     handlers
	events   *dispatcher
	spawner  *spawner
	registry *registry
	watch    *watch
	memory   sync.Once               // watchMemory
	settings atomic.Pointer[settled] // nil until set up, then permanent
	life     context.Context         // ends with Close
	end      context.CancelFunc

	role *GuestMaster // of the cluster that a guest master's own process belongs to, else nil

	prepare  sync.Mutex // one Prepare at a time; guards prepared. Taken before mu
	prepared prepared

	mu      sync.Mutex // guards the fields below; taken before Worker.mu
	changed *sync.Cond // one of them has changed in a way that somebody may wait for
	workers map[uint32]*Worker
	lastID  uint32
	forking int     // Forks that have an id and no worker yet
	running int     // workers whose processes are not waited for yet
	ending  *ending // a Disconnect is under way
	closed  bool
}

// settled are the settings in force and what is made of them once.
type settled struct {
	Settings
	printer *printer
}

// ending is a Disconnect under way.
type ending struct{ done []func() }

var (
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("cluster is closed")

	// ErrDisconnecting says that the cluster is disconnecting: nothing is forked meanwhile.
	ErrDisconnecting = errors.New("cluster is disconnecting")
)

// New makes a cluster without workers. It holds nothing until it is set up; Close ends it.
func New() *Cluster {
	c := &Cluster{
		events:   newDispatcher(),
		spawner:  newSpawner(),
		registry: newRegistry(),
		workers:  map[uint32]*Worker{},
	}
	c.watch = newWatch(c)
	c.registry.watch = c.watch
	c.changed = sync.NewCond(&c.mu)
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// On calls h for every event of that kind, from the dispatcher, until off is called. off may be called more than once.
func (c *Cluster) On(kind EventKind, h Handler) (off func()) { return c.subs.on(kind, h, false) }

// Once is On for the next such event alone.
func (c *Cluster) Once(kind EventKind, h Handler) (off func()) { return c.subs.on(kind, h, true) }

// Do calls f from the dispatcher, between two events, and does not wait for it: what f forks cannot have told
// anything before f has attached its handlers. After Close nothing is called and false is answered.
func (c *Cluster) Do(f func()) bool { return c.events.post(f) }

// SetupMaster sets what the cluster runs. It takes effect once, permanently, and emits setup. A call with the same
// settings again does nothing; one with different settings answers ErrSetup. Other errors say which field is wrong.
// Fork and Prepare call it with zero Settings when it was not called.
func (c *Cluster) SetupMaster(s Settings) error {
	if err := errWorkerProcess(); err != nil {
		return err
	}
	n, err := s.normalize()
	if err != nil {
		return err
	}
	fresh := &settled{Settings: *n, printer: newPrinter(n)}
	// Under the lock, so that no fork is told before setup.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settings.CompareAndSwap(nil, fresh) {
		told := c.Settings()
		c.events.post(func() { c.subs.emit(Event{Kind: EventSetup, Settings: &told}) })
		return nil
	}
	if !c.settings.Load().equal(n) {
		return fmt.Errorf("set up master: %w", ErrSetup)
	}
	return nil
}

// setup is SetupMaster with no arguments, unless it was called.
func (c *Cluster) setup() error {
	if c.settings.Load() != nil {
		return errWorkerProcess()
	}
	err := c.SetupMaster(Settings{})
	if errors.Is(err, ErrSetup) {
		return nil // somebody else has just done it
	}
	return err
}

// Settings are those in force, with defaults filled in; zero before SetupMaster.
func (c *Cluster) Settings() Settings {
	s := c.settings.Load()
	if s == nil {
		return Settings{}
	}
	n := s.Settings
	n.Args, n.Env, n.FDs, n.Listen = slices.Clone(n.Args), slices.Clone(n.Env), slices.Clone(n.FDs), slices.Clone(n.Listen)
	return n
}

// settingsNow is Settings for our own reading. Whoever has a worker knows that there are settings.
func (c *Cluster) settingsNow() *Settings { return &c.settings.Load().Settings }

// Workers are those that were forked and whose exit has not been told yet, in the order of their ids: at disconnect
// a worker is still among them, at exit it is not.
func (c *Cluster) Workers() []*Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.workers), func(a, b *Worker) int { return cmp.Compare(a.id, b.id) })
}

// Worker is the one of Workers with that id, or nil.
func (c *Cluster) Worker(id uint32) *Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers[id]
}

// remove takes a worker off the list, when its exit is told.
func (c *Cluster) remove(w *Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.workers, w.id)
	c.changed.Broadcast()
}

func (c *Cluster) maxMessage() int { return c.settingsNow().MaxMessage }
