package wasmworker

import (
	"testing"

	"github.com/wcluster/wcluster/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
