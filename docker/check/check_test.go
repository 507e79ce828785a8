package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const limit = 6 << 30

// faultsOf writes a project to a new folder and returns its faults; files maps names to contents.
func faultsOf(t *testing.T, files map[string]string, order ...string) []string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	for _, name := range order {
		paths = append(paths, filepath.Join(folder, name))
	}
	return faultsOfPaths(t, paths...)
}

func faultsOfPaths(t *testing.T, paths ...string) []string {
	t.Helper()
	project, faults := load(t.Context(), paths)
	if project != nil {
		faults = append(faults, check(project, limit)...)
	}
	return faults
}

const valid = `
name: valid
services:
  db:
    image: db:1
    mem_limit: 64m
    ports: ["127.0.0.1:5432:5432"]
    volumes: ["./init.sql:/init.sql:ro"]
    healthcheck: {test: [CMD, ready]}
  app:
    image: app:1
    mem_limit: 64m
    depends_on:
      db: {condition: service_healthy}
`

func TestValidProjectHasNoFault(t *testing.T) {
	if faults := faultsOf(t, map[string]string{"compose.yml": valid, "init.sql": ""}, "compose.yml"); len(faults) > 0 {
		t.Fatal(faults)
	}
}

// Each row replaces parts of the valid project.
func TestEachFaultIsFound(t *testing.T) {
	app := "image: app:1"
	tests := []struct {
		name    string
		changes []string
		fault   string
	}{
		{"no health check", []string{"    healthcheck: {test: [CMD, ready]}\n", ""}, "app waits for db to be healthy"},
		{"disabled health check", []string{"{test: [CMD, ready]}", "{disable: true}"}, "app waits for db to be healthy"},
		{"health check NONE", []string{"[CMD, ready]", "[NONE]"}, "app waits for db to be healthy"},
		{"dependency that restarts", []string{"image: db:1", "image: db:1\n    restart: always", "service_healthy", "service_completed_successfully"}, "app waits for db to complete"},
		{"missing bind source", []string{"./init.sql:", "./missing.sql:"}, "missing.sql does not exist"},
		{"missing bind source, long form", []string{`["./init.sql:/init.sql:ro"]`, "[{type: bind, source: ./missing.sql, target: /x}]"}, "missing.sql does not exist"},
		{"missing build context", []string{app, "build: {context: ./missing}"}, "app: build context"},
		{"missing Dockerfile", []string{app, "build: {context: .}"}, "app: Dockerfile"},
		{"missing secret", []string{app, app + "\n    secrets: [key]", "name: valid", "name: valid\nsecrets: {key: {file: ./missing}}"}, "app: secret"},
		{"missing config", []string{app, app + "\n    configs: [key]", "name: valid", "name: valid\nconfigs: {key: {file: ./missing}}"}, "app: config"},
		{"same port twice", []string{app, app + "\n    ports: ['127.0.0.1:5432:80']"}, "services app and db publish the same port"},
		{"port in a range", []string{app, app + "\n    ports: ['127.0.0.1:5431-5433:80-82']"}, "services app and db publish the same port"},
		{"port on all addresses", []string{app, app + "\n    ports: ['0.0.0.0:5432:80']"}, "services app and db publish the same port"},
		{"port of a replica", []string{"image: db:1", "image: db:1\n    scale: 2"}, "db: 2 containers cannot all publish port 5432/tcp"},
		{"port that is no number", []string{app, app + "\n    ports: [{target: 80, published: http, host_ip: 127.0.0.1}]"}, "app: port \"http\""},
		{"port beyond loopback", []string{"127.0.0.1:5432", "5432"}, "db publishes port 5432 on addresses other than loopback"},
		{"image without a version", []string{"app:1", "app"}, "image app has no version"},
		{"latest image", []string{"app:1", "app:latest"}, "image app:latest has no version"},
		{"invalid image", []string{"app:1", "App:1"}, `image "App:1"`},
		{"no memory limit", []string{app + "\n    mem_limit: 64m", app}, "app has no memory limit"},
		{"memory limits too high", []string{app + "\n    mem_limit: 64m", app + "\n    mem_limit: 6g"}, "add up to 6208 MiB"},
		{"memory limits of replicas", []string{app, app + "\n    scale: 100"}, "add up to 6464 MiB"},
		{"host network", []string{"image: db:1", "image: db:1\n    network_mode: host"}, "host"},
		{"unset variable", []string{"app:1", "app:1${MISSING}"}, "MISSING"},
		{"unset variable without braces", []string{"app:1", "app:1$MISSING"}, "MISSING"},
		{"unset required variable", []string{"app:1", "app:${MISSING:?}"}, "MISSING"},
		{"obsolete version", []string{"name: valid", "name: valid\nversion: '3'"}, "obsolete"},
		{"unknown key", []string{app, app + "\n    imag: x"}, "imag"},
		{"duplicate key", []string{app, app + "\n    image: app:2"}, "already defined"},
		{"unknown condition", []string{"service_healthy", "service_ready"}, "condition"},
		{"unknown dependency", []string{"db: {condition", "nodb: {condition"}, "nodb"},
		{"undefined volume", []string{"./init.sql:/init.sql:ro", "data:/data"}, "undefined volume data"},
		{"invalid duration", []string{"[CMD, ready]", "[CMD, ready], interval: 5 minutes"}, "interval"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for i := 0; i < len(test.changes); i += 2 {
				if strings.Count(valid, test.changes[i]) != 1 {
					t.Fatalf("the valid project does not contain %q exactly once", test.changes[i])
				}
			}
			changed := strings.NewReplacer(test.changes...).Replace(valid)
			faults := faultsOf(t, map[string]string{"compose.yml": changed, "init.sql": ""}, "compose.yml")
			if len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), test.fault) {
				t.Fatalf("no fault contains %q: %q\n%s", test.fault, faults, changed)
			}
		})
	}
}

func TestDifferentProtocolsAndAddressesDoNotConflict(t *testing.T) {
	other := "image: app:1\n    ports: ['127.0.0.1:5432:80/udp', '127.0.0.2:5432:80', '127.0.0.1::80']"
	changed := strings.Replace(valid, "image: app:1", other, 1)
	if faults := faultsOf(t, map[string]string{"compose.yml": changed, "init.sql": ""}, "compose.yml"); len(faults) > 0 {
		t.Fatal(faults)
	}
}

func TestFaultsOfAnOverrideAreFound(t *testing.T) {
	files := map[string]string{
		"compose.yml":  valid,
		"init.sql":     "",
		"override.yml": "services: {db: {healthcheck: {disable: true}}, ap: {mem_limit: 1m}}",
	}
	faults := strings.Join(faultsOf(t, files, "compose.yml", "override.yml"), "\n")
	if !strings.Contains(faults, "ap") {
		t.Fatalf("a service without an image or a build is not reported: %q", faults)
	}
	files["override.yml"] = "services: {db: {healthcheck: {disable: true}}}"
	faults = strings.Join(faultsOf(t, files, "compose.yml", "override.yml"), "\n")
	if !strings.Contains(faults, "app waits for db to be healthy") {
		t.Fatalf("a health check that an override disables is not reported: %q", faults)
	}
}

func TestVariablesComeFromTheEnvFileAndNotFromTheEnvironment(t *testing.T) {
	t.Setenv("VERSION", "1")
	files := map[string]string{"compose.yml": strings.Replace(valid, "app:1", "app:${VERSION:?}", 1), "init.sql": ""}
	if faults := faultsOf(t, files, "compose.yml"); !strings.Contains(strings.Join(faults, "\n"), "VERSION") {
		t.Fatalf("the environment is used: %q", faults)
	}
	files[".env"] = "VERSION=2\n"
	if faults := faultsOf(t, files, "compose.yml"); len(faults) > 0 {
		t.Fatal(faults)
	}
}

func TestComposeFilesOfThisRepositoryHaveNoFault(t *testing.T) {
	for _, files := range [][]string{
		{"../compose.yml"},
		{"../compose.yml", "../compose.marketplace.yml"},
	} {
		if faults := faultsOfPaths(t, files...); len(faults) > 0 {
			t.Errorf("%v: %q", files, faults)
		}
	}
}
