package wasip1
import ("testing";"math/rand/v2";"time")
func TestTmpRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log(seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	end := time.Now().Add(100*time.Second)
	n := 0
	for ; time.Now().Before(end); n++ {
		in := make([]byte, 512+rng.IntN(4000))
		for i := range in { in[i] = byte(rng.Uint32()); if rng.IntN(3)==0 { in[i] = byte(rng.IntN(8)) } }
		newFuzzGuest(t).run(in)
	}
	t.Log(n)
}
