package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// instance is a stand-in for an instance of the API.
type instance struct {
	*httptest.Server
	requests atomic.Int32
}

func newInstance(t *testing.T) *instance {
	i := &instance{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		i.requests.Add(1)
		fmt.Fprintf(w, "%s %s %s", r.Host, r.Header.Get("X-Forwarded-For"), r.Header.Get("traceparent"))
	})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) {
		i.requests.Add(1)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer connection.Close()
		fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(connection, connection)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		i.CloseClientConnections()
		i.Close()
	})
	return i
}

// proxy starts nginx with the configuration of the project in front of two instances, and returns its address.
func proxy(t *testing.T, one, two *instance) string {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("needs nginx: install the package nginx-light")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()

	content, err := os.ReadFile("../proxy/marketplace.conf")
	if err != nil {
		t.Fatal(err)
	}
	server := string(content)
	for old, new := range map[string]string{
		"api-1:3000":   one.Listener.Addr().String(),
		"api-2:3000":   two.Listener.Addr().String(),
		"listen 8080;": "listen " + address + ";",
	} {
		if strings.Count(server, old) != 1 {
			t.Fatalf("the configuration does not contain %q exactly once", old)
		}
		server = strings.Replace(server, old, new, 1)
	}
	folder := t.TempDir()
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, folder, kind)
	}
	config := filepath.Join(folder, "nginx.conf")
	whole := fmt.Sprintf("daemon off; worker_processes 1; pid %s/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n",
		folder, temporary, server)
	if os.Getuid() == 0 {
		whole = "user root;\n" + whole
	}
	if err := os.WriteFile(config, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(nginx, "-c", config, "-e", "stderr")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(os.Interrupt)
		command.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if answer, err := http.Get("http://" + address + "/proxy-health"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusNoContent {
				return address
			}
		}
		if time.Now().After(end) {
			t.Fatal("nginx does not answer")
		}
	}
}

func get(t *testing.T, url string, headers ...string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d: %s", url, answer.StatusCode, body)
	}
	return string(body)
}

func TestProxyUsesBothInstancesAndPassesHeaders(t *testing.T) {
	one, two := newInstance(t), newInstance(t)
	address := proxy(t, one, two)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for range 10 {
		if body := get(t, "http://"+address+"/market", "traceparent", trace); body != address+" 127.0.0.1 "+trace {
			t.Fatalf("the instance got: %s", body)
		}
	}
	if one.requests.Load() == 0 || two.requests.Load() == 0 {
		t.Errorf("requests: %d and %d", one.requests.Load(), two.requests.Load())
	}
}

func TestProxyUsesTheOtherInstanceIfOneIsDown(t *testing.T) {
	one, two := newInstance(t), newInstance(t)
	address := proxy(t, one, two)
	one.Close()
	for range 10 {
		get(t, "http://"+address+"/market")
	}
	if two.requests.Load() != 10 {
		t.Errorf("requests: %d", two.requests.Load())
	}
}

func TestProxySendsAPostOnlyOnce(t *testing.T) {
	one, two := newInstance(t), newInstance(t)
	address := proxy(t, one, two)
	answer, err := http.Post("http://"+address+"/abort", "text/plain", strings.NewReader("credit"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if sent := one.requests.Load() + two.requests.Load(); sent != 1 || answer.StatusCode != http.StatusBadGateway {
		t.Errorf("sent %d times, status %d", sent, answer.StatusCode)
	}
}

func TestProxyPassesEventsAtOnce(t *testing.T) {
	address := proxy(t, newInstance(t), newInstance(t))
	answer, err := http.Get("http://" + address + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(answer.Body).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		if text != "data: first\n" {
			t.Errorf("the first line is %q", text)
		}
	case <-time.After(10 * time.Second):
		t.Error("the event is held back")
	}
}

func TestProxyPassesWebSocketConnections(t *testing.T) {
	address := proxy(t, newInstance(t), newInstance(t))
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(connection, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	reader := bufio.NewReader(connection)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v: %v", answer, err)
	}
	fmt.Fprint(connection, "ping")
	echo := make([]byte, 4)
	if _, err := io.ReadFull(reader, echo); err != nil || string(echo) != "ping" {
		t.Errorf("%q: %v", echo, err)
	}
}
