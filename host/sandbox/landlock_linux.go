package sandbox

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// landlock denies everything that Landlock of this kernel knows, but for the compiled module. Any ABI will do: it is one
// wall of several.
func (c *Cage) landlock() error {
	if _, err := landlockVersion(); err != nil {
		return err
	}
	var rules []landlock.Rule
	switch {
	case c.CodeDir == "":
	case c.config.WriteCode:
		rules = append(rules, landlock.RWDirs(c.CodeDir).WithRefer())
	default:
		rules = append(rules, landlock.RODirs(c.CodeDir))
	}
	return landlock.V11.BestEffort().Restrict(rules...)
}

// landlockVersion is the ABI of the kernel, or why there is none.
func landlockVersion() (int, error) {
	v, err := llsys.LandlockGetABIVersion()
	switch {
	case err != nil:
		return 0, fmt.Errorf("the kernel has no Landlock, or it is not among those that are switched on (lsm=landlock,… on the kernel's command line): %w", err)
	case v < 1:
		return 0, errors.New("the kernel's Landlock has no version")
	}
	return v, nil
}
