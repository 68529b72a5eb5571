package main

import "github.com/wcluster/wcluster/host"

func main() { host.Init() }
