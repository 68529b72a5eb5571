package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// Probe puts on every layer that it can, as a worker would, and answers how that went, for the layers that a process puts
// on by itself. The process is good for nothing afterwards but to say so. namespaces says whether it was given namespaces.
func Probe(namespaces bool) []abi.ProbedLayer {
	c := &Cage{config: Config{Sandbox: abi.Sandbox{Level: abi.SandboxAuto}}}
	if namespaces {
		c.config.Layers = append(c.config.Layers, abi.LayerNamespaces)
		c.config.User = spareUser()
	}
	var all []abi.ProbedLayer
	for _, p := range []struct {
		layer abi.Layer
		put   func() error
		note  func() string
	}{
		{abi.LayerMounts, func() error {
			if !namespaces {
				return errors.New("needs namespaces")
			}
			return explain(c.moveOut(), "let users make mounts in namespaces of their own; with AppArmor: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile with userns")
		}, nil},
		{abi.LayerRlimits, c.limit, nil},
		{abi.LayerCapabilities, c.dropPrivileges, nil},
		{abi.LayerLandlock, c.landlock, landlockNote},
		{abi.LayerDumpable, hide, nil},
		{abi.LayerNoNewPrivs, renounce, nil},
		{abi.LayerSeccomp, func() error { return explain(c.filterLoading(), "needs a kernel with CONFIG_SECCOMP_FILTER") }, nil},
		{abi.LayerMDWE, func() error { return explain(denyWriteExecute(), "needs Linux 6.3 or newer") }, nil},
	} {
		note := ""
		if p.note != nil {
			note = p.note() // before the layer is on
		}
		found := abi.ProbedLayer{Layer: p.layer, Note: note}
		if err := p.put(); err != nil {
			found.Error = err.Error()
		} else {
			c.config.Layers = append(c.config.Layers, p.layer)
		}
		all = append(all, found)
	}
	return all
}

// spareUser is a second user of this namespace, beside root, or 0: user_namespaces(7) has a line for each in uid_map.
func spareUser() uint32 {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || bytes.Count(text, []byte("\n")) < 2 {
		return 0
	}
	return abi.SandboxUser
}

// explain says what to do about an error.
func explain(err error, hint string) error {
	if err == nil || strings.Contains(err.Error(), hint) {
		return err
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w (%s)", err, hint)
	}
	return err
}

func landlockNote() string {
	v, err := landlockVersion()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("ABI %d", v)
}
