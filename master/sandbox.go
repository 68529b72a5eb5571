package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/wcluster/wcluster/abi"
)

// sandbox is how the host processes of a cluster are locked down: what was asked for, and what this host has of it. It is
// found out once, before anything of a module is looked at, and holds for every process: a worker that cannot put on what
// the probe could is ended.
type sandbox struct {
	level   abi.SandboxLevel
	found   []abi.ProbedLayer // nil when off
	born    confinement       // of every host process
	cgroups *cgroups          // nil: none asked for, or none to be had, for which
	noCPU   string            // is why
}

// Confinement says how far this host can lock workers down.
type Confinement string

// The confinements.
const (
	ConfinedFully   Confinement = "strict"  // every required layer
	ConfinedPartly  Confinement = "partial" // some are missing
	ConfinedLogging Confinement = "log"     // what seccomp would refuse is logged and let through
	ConfinedNot     Confinement = "off"
)

// SandboxStatus is what the workers of a cluster are locked down with.
type SandboxStatus struct {
	Asked  abi.SandboxLevel  // Settings.Sandbox
	Holds  Confinement       // what every worker has
	Layers []abi.ProbedLayer // each layer, and why it is missing if it is; nil when off
	NoCPU  string            // why Settings.CPU has no effect; "": it has, or was not asked for
}

// Missing is the layers that are not there, in words, for people.
func (s SandboxStatus) Missing() string {
	var all []string
	for _, l := range s.Layers {
		if l.Error != "" {
			all = append(all, fmt.Sprintf("%s (%s)", l.Layer, l.Error))
		}
	}
	return strings.Join(all, ", ")
}

// Sandbox is what the workers are locked down with; zero before Prepare.
func (c *Cluster) Sandbox() SandboxStatus {
	c.prepare.Lock()
	defer c.prepare.Unlock()
	s := c.prepared.sandbox
	if s == nil {
		return SandboxStatus{}
	}
	return SandboxStatus{Asked: s.level, Holds: s.holds(), Layers: slices.Clone(s.found), NoCPU: s.noCPU}
}

func (s *sandbox) holds() Confinement {
	switch {
	case s.level == abi.SandboxOff:
		return ConfinedNot
	case s.level == abi.SandboxLog:
		return ConfinedLogging
	case s.lacks() != nil:
		return ConfinedPartly
	default:
		return ConfinedFully
	}
}

// lacks is the first required layer that is missing, or nil.
func (s *sandbox) lacks() *abi.ProbedLayer {
	i := slices.IndexFunc(s.found, func(l abi.ProbedLayer) bool { return l.Error != "" && l.Layer.Required() })
	if i < 0 {
		return nil
	}
	return &s.found[i]
}

// layers are those that hold.
func (s *sandbox) layers() (all []abi.Layer) {
	for _, l := range s.found {
		if l.Error == "" {
			all = append(all, l.Layer)
		}
	}
	return all
}

func (s *sandbox) has(l abi.Layer) bool { return slices.Contains(s.layers(), l) }

// worker is what a worker is told.
func (s *sandbox) worker(cpuSeconds int64) abi.Sandbox {
	told := abi.Sandbox{Level: s.level, Layers: s.layers(), CPUSeconds: cpuSeconds}
	if s.born == lowered {
		told.User = abi.SandboxUser
	}
	return told
}

const (
	// A compiled module is 3.9 times as large as its Wasm. A compiler that writes much more is out of its mind.
	codePerByte = 64
	codeSpare   = 64 << 20
)

// compiler is what a compile child is told. It stays the user that owns the cache.
func (s *sandbox) compiler(moduleBytes int64) abi.Sandbox {
	return abi.Sandbox{Level: s.level, Layers: s.layers(), FileBytes: codePerByte*moduleBytes + codeSpare}
}

// findSandbox probes this host, unless nothing is wanted of it. With SandboxStrict a missing layer is an error that names
// it and says what to do.
func (c *Cluster) findSandbox(ctx context.Context) (*sandbox, error) {
	settings := c.settingsNow()
	s := &sandbox{level: settings.Sandbox}
	if settings.CPU > 0 {
		var err error
		if s.cgroups, err = openCgroups(); err != nil && s.level == abi.SandboxStrict {
			return nil, fmt.Errorf("limit workers to %v CPUs: %w", settings.CPU, err)
		} else if err != nil {
			s.noCPU = err.Error()
		}
	}
	if s.level == abi.SandboxOff {
		return s, nil
	}
	found, born, err := c.probe(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out how to lock workers down: %w", err)
	}
	s.found, s.born = found, born
	if l := s.lacks(); l != nil && s.level == abi.SandboxStrict {
		return nil, fmt.Errorf("lock workers down strictly: this host lacks %s: %s", l.Layer, l.Error)
	}
	return s, nil
}

// ProbeSandbox tells which layers of the sandbox this host has, and why not the others, in the order of abi.Layers. It
// starts a process that tries them.
func (c *Cluster) ProbeSandbox(ctx context.Context) ([]abi.ProbedLayer, error) {
	if err := c.setup(); err != nil {
		return nil, err
	}
	c.prepare.Lock()
	defer c.prepare.Unlock()
	found, _, err := c.probe(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe sandbox: %w", err)
	}
	return found, nil
}

// probe asks a child, which is born into the best confinement that this host allows. Called with Cluster.prepare held.
func (c *Cluster) probe(ctx context.Context) ([]abi.ProbedLayer, confinement, error) {
	child, born, denied, err := c.startProbe()
	if err != nil {
		return nil, unconfined, err
	}
	var said abi.Probed
	if err := child.ask(ctx, abi.KindProbe, nil, nil, abi.PhaseProbing, &said); err != nil {
		return nil, unconfined, err
	}
	namespaces, rights := abi.ProbedLayer{Layer: abi.LayerNamespaces}, abi.ProbedLayer{Layer: abi.LayerPassRights}
	if born == unconfined {
		namespaces.Error = namespaceError(denied)
	}
	if err := canRefuseRights(); err != nil {
		rights.Error = err.Error()
	}
	return inOrder(append(said.Layers, namespaces, rights)), born, nil
}

// startProbe answers as well why the probe was not born into something better.
func (c *Cluster) startProbe() (child *child, born confinement, denied, err error) {
	name := processName(roleProbe, cmp.Or(c.prepared.name, "sandbox"))
	for _, born = range bestConfinements() {
		if child, err = c.startChild(roleProbe, name, born); err == nil {
			return child, born, denied, nil
		}
		if born != unconfined {
			denied = err
		}
	}
	return nil, unconfined, denied, err // it is not the namespaces
}

// inOrder is one entry for each layer; one that a child has not spoken of is missing.
func inOrder(said []abi.ProbedLayer) []abi.ProbedLayer {
	var all []abi.ProbedLayer
	for _, l := range abi.Layers {
		i := slices.IndexFunc(said, func(p abi.ProbedLayer) bool { return p.Layer == l })
		if i < 0 {
			all = append(all, abi.ProbedLayer{Layer: l, Error: "the host binary does not know it"})
			continue
		}
		all = append(all, said[i])
	}
	return all
}

// namespaceError says why a process could not be given namespaces, and what to do.
func namespaceError(err error) string {
	hint := "needs a kernel with CONFIG_USER_NS and the others"
	switch {
	case errors.Is(err, syscall.ENOSPC):
		hint = "raise sysctl user.max_user_namespaces, and the same for net, mnt, ipc, uts and cgroup"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		hint = "let this user make user namespaces: sysctl kernel.unprivileged_userns_clone=1 where there is one; in a container its seccomp profile must allow clone with new namespaces"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return fmt.Sprintf("%v (%s)", err, hint)
}
