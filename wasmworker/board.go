package wasmworker

import "github.com/wcluster/wcluster/wasmworker/wasip1"

// Board is the scoreboard as the worker stores it: the first bytes of the page that package abi draws. Stores are plain:
// each is one aligned machine word, and the reader wants no more than that it is not torn.
type Board struct {
	Calls       uint64
	State       uint64
	Figures     wasip1.Figures
	MessagesIn  uint64
	MessagesOut uint64
	Memory      uint64
	Consumed    uint64
}
