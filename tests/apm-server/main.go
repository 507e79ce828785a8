// apm-server is the APM Server without Elasticsearch. It decodes what agents send with elastic/apm-data, the library
// inside the real server, and writes each document that Elasticsearch would get as a line of JSON.
//
//	apm-server decode FILE...   captured intake bodies: documents to stdout, refused lines to stderr, exit 1 if any
//	apm-server judge            one body per line on stdin, as a JSON string; one verdict per line on stdout
//	apm-server serve [-addr A] [-grpc A] [-out FILE] [-token T]
//	                            prints its URL, and a second one for gRPC; the intake API, OTLP over HTTP and gRPC, GET /, /config/v1/agents
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: apm-server decode FILE... | apm-server judge | apm-server serve [flags]")
	}
	switch os.Args[1] {
	case "decode":
		decode(os.Args[2:])
	case "judge":
		judge(os.Stdin, os.Stdout)
	case "serve":
		serve(os.Args[2:])
	default:
		log.Fatalf("unknown command %q: it is decode, judge or serve", os.Args[1])
	}
}

func decode(paths []string) {
	d, refused := newDecoder(os.Stdout), 0
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			log.Fatal(err)
		}
		v := d.decode(context.Background(), file)
		file.Close()
		refused += len(v.Errors)
		log.Printf("%s: %d accepted, %d refused", path, v.Accepted, len(v.Errors))
		for _, e := range v.Errors {
			log.Printf("  refused: %s", e.Message)
		}
	}
	if refused > 0 {
		os.Exit(1)
	}
}

// judge answers line by line, so that a test can hold a conversation with it.
func judge(in io.Reader, out io.Writer) {
	d := newDecoder(io.Discard)
	lines, answers := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return
		}
		if err != nil && err != io.EOF {
			log.Fatal(err)
		}
		var body string
		if err := json.Unmarshal(line, &body); err != nil {
			log.Fatalf("not a JSON string: %s", err)
		}
		v := d.decode(context.Background(), strings.NewReader(body))
		if err := answers.Encode(v); err != nil {
			log.Fatal(err)
		}
	}
}

func serve(args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:8200", "address of the HTTP API")
	grpcAddr := flags.String("grpc", "", "address of OTLP over gRPC (off when empty)")
	out := flags.String("out", "docs.ndjson", "file for the documents")
	token := flags.String("token", "", "secret token that requests must carry (none when empty)")
	flags.Parse(args)
	file, err := os.Create(*out)
	if err != nil {
		log.Fatal(err)
	}
	d := newDecoder(file)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	if *grpcAddr != "" {
		listener, err := net.Listen("tcp", *grpcAddr)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("http://%s\n", listener.Addr())
		go func() { log.Fatal(d.serveGRPC(listener, *token)) }()
	}
	log.Fatal(http.Serve(listener, d.routes(*token)))
}
