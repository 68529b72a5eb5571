package master

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wcluster/wcluster/abi"
)

// GuestMaster is a guest that plays the master role over a cluster: it forks, sends to, disconnects and destroys the
// cluster's workers, and hears of them. It runs in a host process of its own, locked down like a worker's. Its authority
// ends at its cluster: it names modules that Role lists, never paths, and has at most Role.MaxWorkers workers.
//
// Its workers go with it: when its process has ended, the cluster is closed.
type GuestMaster struct {
	cluster  *Cluster // whose master it is
	home     *Cluster // that its own process belongs to
	settings Settings // of the workers, before the guest has set anything up
	role     Role
	worker   *Worker // its process
}

// Role is what a guest may do as a master.
type Role struct {
	// Modules are what the guest may name in setup_master: a name for each path. Its own module needs no name.
	Modules map[string]string

	// MaxWorkers bounds the workers that live at one time. Default: 64.
	MaxWorkers int

	// Errors, if set, is told why a worker could not be forked, where an errno says too little. It is called from the
	// goroutine that reads the guest's channel, one call at a time, and must not block for long.
	Errors func(error)
}

const defaultGuestWorkers = 64

// NewGuestMaster prepares the module of s to play the master role over c, which must not have been set up: the guest does
// that, and what it does not choose is as s says. Nothing runs until Start.
func NewGuestMaster(c *Cluster, s Settings, r Role) (*GuestMaster, error) {
	if c.settings.Load() != nil {
		return nil, fmt.Errorf("make guest master: %w", ErrSetup)
	}
	switch {
	case r.MaxWorkers < 0:
		return nil, fmt.Errorf("make guest master: MaxWorkers is %d; choose 1 or more", r.MaxWorkers)
	case r.MaxWorkers == 0:
		r.MaxWorkers = defaultGuestWorkers
	}
	if _, err := s.normalize(); err != nil {
		return nil, err
	}
	g := &GuestMaster{cluster: c, home: New(), settings: s, role: r}
	g.home.role = g
	own := s
	own.Listen, own.FDs, own.CPU, own.CPUTime = nil, nil, 0, 0
	own.MayListen = func(abi.Address) bool { return false } // sockets are the workers'
	if err := g.home.SetupMaster(own); err != nil {
		return nil, err
	}
	return g, nil
}

// Home is the cluster that the guest's own process belongs to, as its one worker, with id 0: for Prepare, whose report
// says whether the module can play this role, and for its events. Close closes it.
func (g *GuestMaster) Home() *Cluster { return g.home }

// Start starts the guest. It must be called once.
func (g *GuestMaster) Start() error {
	for kind := EventSetup; kind < eventEnd; kind++ {
		g.cluster.On(kind, g.forward)
	}
	g.home.On(EventExit, func(Event) { go g.cluster.Close() })
	started := make(chan error, 1)
	g.home.Do(func() {
		w, err := g.home.Fork()
		g.worker = w
		started <- err
	})
	return <-started
}

// Disconnect lets every worker leave, and then the guest itself. It does not wait.
func (g *GuestMaster) Disconnect() {
	g.cluster.Disconnect(func() { g.home.Disconnect(nil) })
}

// Close ends the guest and its workers at once and waits for that. The cluster is closed too.
func (g *GuestMaster) Close() {
	g.home.Close()
	g.cluster.Close()
}

// setup is setup_master: the settings of the workers take effect.
func (g *GuestMaster) setup(want *abi.Setup) error {
	s := g.settings
	if want.Exec != "" {
		path, ok := g.role.Modules[want.Exec]
		if !ok {
			return fmt.Errorf("set up master: %w: %q; name it with --module %s=PATH", errUnnamed, want.Exec, want.Exec)
		}
		s.Exec = path
	}
	if want.Args != nil {
		s.Args = want.Args
	}
	if want.Silent {
		s.Silent, s.Output = true, nil
	}
	return g.cluster.SetupMaster(s)
}

var (
	errUnnamed = errors.New("no such module")
	errTooMany = errors.New("as many workers as allowed are alive")
)

// setupNow is what the guest may know of the settings in force.
func (g *GuestMaster) setupNow(s *Settings) *abi.Setup {
	exec := ""
	for name, path := range g.role.Modules {
		if path == s.Exec {
			exec = name
		}
	}
	return &abi.Setup{Exec: exec, Args: slices.Clone(s.Args), Silent: s.Silent}
}

// fork is the guest's fork.
func (g *GuestMaster) fork(env []string) (*Worker, error) {
	if n := len(g.cluster.Workers()); n >= g.role.MaxWorkers {
		return nil, fmt.Errorf("fork: %w: %d", errTooMany, n)
	}
	if g.cluster.settings.Load() == nil {
		if err := g.setup(&abi.Setup{}); err != nil {
			return nil, err
		}
	}
	return g.cluster.Fork(env...)
}
