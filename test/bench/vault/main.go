package main

import (
	"fmt"
	"os"
)

func main() {
	d, err := generate(os.Args[1], 1)
	fmt.Println(d, err)
}
