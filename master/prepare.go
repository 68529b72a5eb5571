package master

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/wcluster/wcluster/abi"
)

// Stage is what Prepare is doing.
type Stage struct {
	Step   Step
	Module string // the module's base name
	Bytes  int64  // of the module; 0 while it is being read
}

// Step is a part of Prepare.
type Step string

// The steps, in order; a module is either compiled or found in the cache.
const (
	StepRead    Step = "read"    // the module file is copied
	StepListen  Step = "listen"  // the preopened listeners are bound
	StepSandbox Step = "sandbox" // a child process finds out how host processes can be locked down
	StepCompile Step = "compile" // a child process compiles, which can take seconds
	StepCached  Step = "cached"  // the compiled module was found
	StepReady   Step = "ready"
)

// PrepareError is why Prepare, and so Fork, could not begin. Its text is one line that says what to do.
type PrepareError struct {
	Op     Step       // StepRead, StepListen, StepSandbox or StepCompile
	Reason abi.Reason // of StepCompile: the class of what is wrong with the module; else ""
	Err    error
}

func (e *PrepareError) Error() string { return e.Err.Error() }

func (e *PrepareError) Unwrap() error { return e.Err }

// prepared is what Prepare has made so far. Guarded by Cluster.prepare.
type prepared struct {
	module   *module // nil until read
	name     string
	sandbox  *sandbox // nil until found out
	cache    *cache
	cacheDir string // of the compiled module; "" until compiled
	report   abi.Report
	bound    bool
	ready    bool      // it was compiled once: workers may be running
	preopens []*socket // owned by the registry
}

// Prepare reads the module, binds the preopened listeners, and compiles the module unless the cache has it. What has
// been done is not done again; what failed may be tried again. The report says what the module is. progress, if not
// nil, is called before each step, from Prepare itself. Errors other than those of the settings and of ctx are
// *PrepareError.
func (c *Cluster) Prepare(ctx context.Context, progress func(Stage)) (abi.Report, error) {
	if err := c.setup(); err != nil {
		return abi.Report{}, err
	}
	c.prepare.Lock()
	defer c.prepare.Unlock()
	if c.life.Err() != nil {
		return abi.Report{}, fmt.Errorf("prepare: %w", ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	if progress == nil {
		progress = func(Stage) {}
	}
	return c.prepareLocked(ctx, progress)
}

func (c *Cluster) prepareLocked(ctx context.Context, progress func(Stage)) (abi.Report, error) {
	s, p := c.settingsNow(), &c.prepared
	if p.cacheDir != "" && p.cache.lost(p.cacheDir) {
		p.cacheDir = "" // somebody has cleaned up
	}
	if p.module != nil && p.bound && p.cacheDir != "" {
		return p.report, nil
	}
	say := func(step Step) {
		stage := Stage{Step: step, Module: filepath.Base(s.Exec)}
		if p.module != nil {
			stage.Bytes = p.module.size
		}
		progress(stage)
	}
	if p.module == nil {
		say(StepRead)
		if err := p.read(s); err != nil {
			return abi.Report{}, &PrepareError{Op: StepRead, Err: err}
		}
	}
	if !p.bound {
		say(StepListen)
		if err := c.bindPreopens(); err != nil {
			return abi.Report{}, &PrepareError{Op: StepListen, Err: err}
		}
	}
	if p.sandbox == nil {
		say(StepSandbox)
		found, err := c.findSandbox(ctx)
		if err != nil {
			c.releaseListenersLocked() // nobody will accept
			return abi.Report{}, &PrepareError{Op: StepSandbox, Err: err}
		}
		p.sandbox = found
	}
	if p.cacheDir == "" {
		if err := c.compile(ctx, say); err != nil {
			if !p.ready {
				c.releaseListenersLocked() // nobody will accept
			}
			return p.report, err
		}
		p.ready = true
	}
	say(StepReady)
	return p.report, nil
}

var errNoModule = errors.New("no module to run: give its path in Settings.Exec")

func (p *prepared) read(s *Settings) error {
	if s.Exec == "" {
		return errNoModule
	}
	m, err := readModule(s.Exec)
	if err != nil {
		return err
	}
	p.module, p.name = m, filepath.Base(s.Exec)
	return nil
}

// bindPreopens makes the preopened listeners, all or none.
func (c *Cluster) bindPreopens() error {
	p := &c.prepared
	for i, l := range c.settingsNow().Listen {
		key := keyOf(l.Address, false)
		if wantsAnyPort(l.Address) {
			key.preopen = uint32(i) + 1
		}
		s, err := c.registry.hold(key, 0)
		if err != nil {
			c.releaseListenersLocked()
			return listenError(l.Address, err)
		}
		p.preopens = append(p.preopens, s)
	}
	p.bound = true
	return nil
}

// Listeners are the addresses of the preopened listeners as bound, in the order of Settings.Listen: a port in place of
// 0. Empty before Prepare and after Disconnect.
func (c *Cluster) Listeners() []abi.Address {
	c.prepare.Lock()
	defer c.prepare.Unlock()
	all := make([]abi.Address, len(c.prepared.preopens))
	for i, s := range c.prepared.preopens {
		all[i] = s.address
	}
	return all
}

func (c *Cluster) releaseListeners() {
	c.prepare.Lock()
	defer c.prepare.Unlock()
	c.releaseListenersLocked()
}

func (c *Cluster) releaseListenersLocked() {
	c.registry.reset()
	c.prepared.preopens, c.prepared.bound = nil, false
}

func (c *Cluster) releaseModule() {
	c.prepare.Lock()
	defer c.prepare.Unlock()
	p := &c.prepared
	if p.module != nil {
		p.module.fd.Close()
	}
	if p.cache != nil {
		p.cache.release()
	}
	c.prepared = prepared{}
}
