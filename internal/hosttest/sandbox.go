package hosttest

import (
	"os"

	"github.com/wcluster/wcluster/abi"
)

// Sandbox is how tests have their workers locked down: WCLUSTER_TEST_SANDBOX, or as far as this host can.
func Sandbox() abi.SandboxLevel {
	if level := os.Getenv("WCLUSTER_TEST_SANDBOX"); level != "" {
		return abi.SandboxLevel(level)
	}
	return abi.SandboxAuto
}
