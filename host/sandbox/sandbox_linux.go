package sandbox

import (
	"errors"
	"fmt"

	"github.com/wcluster/wcluster/abi"
)

// Config is how a process is to be locked down.
type Config struct {
	abi.Sandbox

	// CodeDir is the directory of the compiled module, or "". It is the only one that remains, under the name that
	// Cage.CodeDir answers. WriteCode says that this process may write to it: it is a compiler.
	CodeDir   string
	WriteCode bool

	// FDs bounds the descriptors of the process; 0: as many as the system lets it have.
	FDs int
}

// Cage is a process that has been locked down but for what loading a module takes.
type Cage struct {
	config Config

	// CodeDir is where Config.CodeDir is from now on.
	CodeDir string
}

// layerError says which layer could not be put on.
type layerError struct {
	layer abi.Layer
	err   error
}

func (e *layerError) Error() string { return fmt.Sprintf("put on %s: %v", e.layer, e.err) }

func (e *layerError) Unwrap() []error { return []error{ErrLayer, e.err} }

// ErrLayer is wrapped by the errors of Enter and Seal.
var ErrLayer = errors.New("the sandbox is not what it should be")

// Enter puts on every layer of c that comes before the module is loaded. It is for the locked main thread of a process
// that has not opened anything yet. After an error the process is half locked down and good for nothing but to say so.
func Enter(c Config) (*Cage, error) {
	cage := &Cage{config: c, CodeDir: c.CodeDir}
	for _, step := range []struct {
		layer abi.Layer
		put   func() error
	}{
		{abi.LayerMounts, cage.moveOut},
		{abi.LayerRlimits, cage.limit},
		{abi.LayerCapabilities, cage.dropPrivileges},
		{abi.LayerLandlock, cage.landlock},
		{abi.LayerDumpable, hide},
		{abi.LayerNoNewPrivs, renounce},
		{abi.LayerSeccomp, cage.filterLoading},
	} {
		if !c.Has(step.layer) {
			continue
		}
		if err := step.put(); err != nil {
			return nil, &layerError{step.layer, err}
		}
	}
	return cage, nil
}

// Seal puts on the rest, when the module is loaded, and tries whether it holds. From here on nothing can be opened or
// made executable.
func (c *Cage) Seal() error {
	if c.config.Has(abi.LayerMDWE) {
		if err := denyWriteExecute(); err != nil {
			return &layerError{abi.LayerMDWE, err}
		}
	}
	if c.config.Has(abi.LayerSeccomp) {
		if err := c.filterRunning(); err != nil {
			return &layerError{abi.LayerSeccomp, err}
		}
	}
	return c.selfTest()
}
