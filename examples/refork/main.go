// Command refork forks a new worker whenever one dies, and says what it died of.
//
//	go run ./examples/refork -n 4
//
// It ends with SIGINT or SIGTERM, once the requests under way are answered. The supervisor of wcluster run does the same
// with more care: see package master/supervisor.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/host"
	"github.com/wcluster/wcluster/master"
)

func main() {
	// A worker is this program, started again: Init runs the guest there and does not return.
	host.Init()
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("refork: ", err)
	}
}

func run() error {
	module := flag.String("module", "guests/hello-c/hello.wasm", "the guest, compiled for wasip1")
	listen := flag.String("listen", "tcp://127.0.0.1:8000", "where the workers listen")
	n := flag.Int("n", 2, "how many workers")
	flag.Parse()
	address, err := abi.ParseAddress(*listen)
	if err != nil {
		return err
	}

	cluster := master.New()
	defer cluster.Close()
	if err := cluster.SetupMaster(master.Settings{Exec: *module, Listen: []master.Listener{{Address: address}}}); err != nil {
		return err
	}
	cluster.On(master.EventListening, func(e master.Event) { fmt.Printf("%v listens on %v\n", e.Worker, e.Address) })
	cluster.On(master.EventDeath, func(e master.Event) {
		if e.Exit.Suicide {
			return // it was told to go, or chose to: no need to worry
		}
		fmt.Printf("%v died (%v). restarting...\n", e.Worker, e.Exit)
		if _, err := cluster.Fork(); err != nil {
			log.Print("refork: ", err)
		}
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	for range *n {
		if _, err := cluster.Fork(); err != nil {
			return err
		}
	}

	<-signals
	done := make(chan struct{})
	cluster.Disconnect(func() { close(done) })
	<-done
	return nil
}
