package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// script runs a script of the parent folder and returns its output.
func script(t *testing.T, path string, environment ...string) (string, error) {
	t.Helper()
	command := exec.Command("bash", append([]string{"../" + path}, arguments(environment)...)...)
	command.Env = append(os.Environ(), variables(environment)...)
	output, err := command.CombinedOutput()
	return string(output), err
}

func variables(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return !strings.Contains(one, "=") })
}

func arguments(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return strings.Contains(one, "=") })
}

// secrets returns a folder with the volumes that the service `passwords` mounts.
func secrets(t *testing.T, volumes ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: the files of a service belong to its user")
	}
	folder := t.TempDir()
	for _, volume := range volumes {
		if err := os.Mkdir(filepath.Join(folder, volume), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := script(t, "setup/passwords.sh", "SECRETS_DIR="+folder); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return folder
}

var all = []string{"elasticsearch", "kibana", "apm-server", "agent", "postgres"}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(content), "\n")
}

func TestEachServiceGetsItsOwnPasswords(t *testing.T) {
	folder := secrets(t, all...)
	owners := map[string]uint32{
		"elasticsearch/elastic":     1000,
		"elasticsearch/support":     1000,
		"kibana/kibana_system":      1000,
		"kibana/encryption_key":     1000,
		"apm-server/apm_server":     1000,
		"postgres/password":         0,
		"agent/database_url":        65532,
		"agent/wallet_database_url": 65532,
	}
	seen := map[string]string{}
	for path, owner := range owners {
		info, err := os.Stat(filepath.Join(folder, path))
		if err != nil {
			t.Fatal(err)
		}
		// Elasticsearch refuses a password file that others can read
		if info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != owner {
			t.Errorf("%s: mode %v, owner %d", path, info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
		}
		content := read(t, folder, path)
		if other, taken := seen[content]; taken {
			t.Errorf("%s and %s are the same", path, other)
		}
		seen[content] = path
		if !strings.HasSuffix(path, "_url") && !regexp.MustCompile(`^[0-9a-zA-Z]{40}$`).MatchString(content) {
			t.Errorf("%s is not 40 letters and digits", path)
		}
	}
	want := fmt.Sprintf("postgres://marketplace:%s@postgres:5432/wallet", read(t, folder, "postgres/password"))
	if url := read(t, folder, "agent/wallet_database_url"); url != want {
		t.Errorf("the URL is %s, not %s", url, want)
	}
}

func TestPasswordsAreKept(t *testing.T) {
	folder := secrets(t, all...)
	elastic, url := read(t, folder, "elasticsearch/elastic"), read(t, folder, "agent/database_url")
	if err := os.WriteFile(filepath.Join(folder, "kibana/kibana_system"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := script(t, "setup/passwords.sh", "SECRETS_DIR="+folder); err != nil || output != "" {
		t.Fatalf("%v: %s", err, output)
	}
	if read(t, folder, "elasticsearch/elastic") != elastic || read(t, folder, "agent/database_url") != url {
		t.Error("a password has changed")
	}
	if read(t, folder, "kibana/kibana_system") == "" {
		t.Error("an empty password was kept")
	}
}

func TestServicesThatAreNotPartOfTheProjectGetNoPassword(t *testing.T) {
	folder := secrets(t, "elasticsearch", "kibana", "apm-server", "agent")
	for _, path := range []string{"postgres", "agent/database_url"} {
		if _, err := os.Stat(filepath.Join(folder, path)); err == nil {
			t.Errorf("%s exists", path)
		}
	}
}

// stack answers as Elasticsearch and Kibana do.
type stack struct {
	*httptest.Server
	mutex    sync.Mutex
	requests []string
	bodies   map[string]string
	users    map[string]string // the Authorization header of each request
	status   map[string]int    // answers other than 200
	answers  map[string]string // answers other than the usual ones
}

func newStack(t *testing.T) *stack {
	s := &stack{bodies: map[string]string{}, users: map[string]string{}, status: map[string]int{}, answers: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	request := r.Method + " " + r.URL.RequestURI()
	body, _ := io.ReadAll(r.Body)
	s.requests = append(s.requests, request)
	s.bodies[request] += string(body)
	s.users[request] = r.Header.Get("Authorization")
	answer := map[string]string{
		"POST /_security/api_key":                                `{"id":"1","name":"agents","api_key":"x","encoded":"bmV3IGtleQ=="}`,
		"GET /api/status":                                        `{"status":{"overall":{"level":"available"}}}`,
		"POST /api/saved_objects/_import?overwrite=true":         `{"successCount":3,"success":true}`,
		"GET /_cluster/health?wait_for_status=yellow&timeout=5s": `{"status":"yellow","timed_out":false}`,
	}[request]
	if other, ok := s.answers[request]; ok {
		answer = other
	}
	if strings.Contains(r.URL.Path, "/api/") && r.Method == "POST" && r.Header.Get("kbn-xsrf") == "" {
		w.WriteHeader(http.StatusBadRequest)
	} else if status := s.status[request]; status != 0 {
		w.WriteHeader(status)
	}
	fmt.Fprint(w, answer)
}

func (s *stack) setup(t *testing.T, folder string, environment ...string) (string, error) {
	t.Helper()
	objects := t.TempDir()
	if err := os.WriteFile(filepath.Join(objects, "marketplace.ndjson"), []byte(`{"id":"saved"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	environment = append([]string{
		"SECRETS_DIR=" + folder, "OBJECTS_DIR=" + objects, "ELASTICSEARCH_URL=" + s.URL, "KIBANA_URL=" + s.URL,
		"PUBLIC_KIBANA_URL=http://localhost:5601", "KIBANA_TIMEOUT=0",
	}, environment...)
	output, err := script(t, "setup/setup.sh", environment...)
	for _, path := range []string{"elasticsearch/elastic", "elasticsearch/support", "kibana/kibana_system", "apm-server/apm_server"} {
		if strings.Contains(output, read(t, folder, path)) {
			t.Errorf("the output contains %s:\n%s", path, output)
		}
	}
	return output, err
}

func TestSetupPreparesElasticsearchAndKibana(t *testing.T) {
	folder, stack := secrets(t, all...), newStack(t)
	output, err := stack.setup(t, folder)
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	want := []string{
		"POST /_security/user/kibana_system/_password",
		"PUT /_security/role/apm_server",
		"PUT /_security/user/apm_server",
		"PUT /_security/user/support",
		"POST /_security/api_key",
		"GET /api/status",
		"POST /api/fleet/epm/packages/apm",
		"POST /api/saved_objects/_import?overwrite=true",
	}
	if !slices.Equal(stack.requests, want) {
		t.Errorf("requests: %q", stack.requests)
	}
	for request, path := range map[string]string{want[0]: "kibana/kibana_system", want[2]: "apm-server/apm_server", want[3]: "elasticsearch/support"} {
		if !strings.Contains(stack.bodies[request], `"password":"`+read(t, folder, path)+`"`) {
			t.Errorf("%s has the wrong password: %s", request, stack.bodies[request])
		}
	}
	for _, request := range want {
		if request != want[5] && !strings.HasPrefix(stack.users[request], "Basic ") {
			t.Errorf("%s is sent without a user", request)
		}
	}
	if !strings.Contains(stack.bodies[want[7]], `{"id":"saved"}`) {
		t.Errorf("the saved objects are not sent: %s", stack.bodies[want[7]])
	}
	key := filepath.Join(folder, "agent/api_key")
	info, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, key) != "bmV3IGtleQ==" || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 65532 {
		t.Errorf("the API key's file: %s, %v", read(t, key), info.Mode())
	}
	if !strings.Contains(output, "http://localhost:5601/app/dashboards#/view/marketplace-overview") {
		t.Errorf("the output does not name the dashboard: %s", output)
	}
}

func TestSecondSetupKeepsAnAPIKeyThatWorks(t *testing.T) {
	folder, stack := secrets(t, all...), newStack(t)
	key := filepath.Join(folder, "agent/api_key")
	if err := os.WriteFile(key, []byte("b2xkIGtleQ==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := stack.setup(t, folder); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if read(t, key) != "b2xkIGtleQ==" || slices.Contains(stack.requests, "POST /_security/api_key") {
		t.Errorf("a key that works is replaced: %q", stack.requests)
	}
	if user := stack.users["GET /_security/_authenticate"]; user != "ApiKey b2xkIGtleQ==" {
		t.Errorf("the key is not tried: %q", user)
	}
	stack.status["GET /_security/_authenticate"] = http.StatusUnauthorized
	if output, err := stack.setup(t, folder); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if read(t, key) != "bmV3IGtleQ==" {
		t.Error("a key that does not work is kept")
	}
}

func TestSetupFailsWithTheAnswerOfTheServer(t *testing.T) {
	const imported = "POST /api/saved_objects/_import?overwrite=true"
	tests := []struct {
		name, request, answer string
		status                int
		message               string
	}{
		{"refused user", "PUT /_security/user/support", `{"error":"no role"}`, http.StatusBadRequest, `status 400: {"error":"no role"}`},
		{"key without the field", "POST /_security/api_key", `{"id":"1"}`, 0, "encoded"},
		{"refused import", imported, `{"message":"too new"}`, http.StatusUnprocessableEntity, "too new"},
		{"partial import", imported, `{"success":false,"errors":[{"id":"x"}]}`, 0, `"success":false`},
		{"Kibana does not start", "GET /api/status", `{"status":{"overall":{"level":"degraded"}}}`, http.StatusServiceUnavailable, "is not available after 0 s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder, stack := secrets(t, all...), newStack(t)
			stack.status[test.request], stack.answers[test.request] = test.status, test.answer
			output, err := stack.setup(t, folder)
			if err == nil || !strings.Contains(output, test.message) {
				t.Fatalf("%v: %s", err, output)
			}
		})
	}
}

func TestSetupSucceedsWithoutTheIntegration(t *testing.T) {
	folder, stack := secrets(t, all...), newStack(t)
	stack.status["POST /api/fleet/epm/packages/apm"] = http.StatusBadGateway
	output, err := stack.setup(t, folder)
	if err != nil || !strings.Contains(output, "integration is not installed") {
		t.Fatalf("%v: %s", err, output)
	}
}

func TestHealthOfElasticsearch(t *testing.T) {
	folder, stack := secrets(t, all...), newStack(t)
	health := func() error {
		_, err := script(t, "setup/elasticsearch-health.sh", "ELASTICSEARCH_URL="+stack.URL, "SECRETS_DIR="+folder+"/elasticsearch")
		return err
	}
	if err := health(); err != nil {
		t.Error("healthy:", err)
	}
	const request = "GET /_cluster/health?wait_for_status=yellow&timeout=5s"
	stack.answers[request] = `{"status":"red","timed_out":true}`
	if health() == nil {
		t.Error("a red cluster counts as healthy")
	}
	delete(stack.answers, request)
	stack.status[request] = http.StatusUnauthorized
	if health() == nil {
		t.Error("a cluster that refuses the password counts as healthy")
	}
}

func TestHealthOfTheAPMServer(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	if output, err := script(t, "apm-server/health.sh", port); err != nil {
		t.Error("healthy:", err, output)
	}
	status = http.StatusServiceUnavailable
	if _, err := script(t, "apm-server/health.sh", port); err == nil {
		t.Error("a server that answers with 503 counts as healthy")
	}
	server.Close()
	if _, err := script(t, "apm-server/health.sh", port); err == nil {
		t.Error("a closed port counts as healthy")
	}
}
