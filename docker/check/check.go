package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
)

// check returns the faults of a project that the library has loaded.
func check(project *types.Project, memory int64) []string {
	var faults []string
	report := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	var sum int64
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		checkDependencies(project, service, report)
		checkFiles(project, service, report)
		checkImage(service, report)
		limit := memoryLimit(service)
		if limit == 0 {
			report("service %s has no memory limit", name)
		}
		sum += limit * int64(service.GetScale())
	}
	if sum > memory {
		report("the memory limits add up to %d MiB, but at most %d MiB are allowed", sum>>20, memory>>20)
	}
	checkPorts(project, report)
	return faults
}

type reporter func(format string, values ...any)

func checkDependencies(project *types.Project, service types.ServiceConfig, report reporter) {
	for _, name := range service.GetDependencies() {
		dependency := service.DependsOn[name]
		needed, ok := project.Services[name]
		if !ok {
			// the library accepts a missing service that is not required
			continue
		}
		switch dependency.Condition {
		case types.ServiceConditionHealthy:
			if !hasHealthCheck(needed) {
				report("service %s waits for %s to be healthy, but it has no health check", service.Name, name)
			}
		case types.ServiceConditionCompletedSuccessfully:
			if needed.Restart == types.RestartPolicyAlways || needed.Restart == types.RestartPolicyUnlessStopped {
				report("service %s waits for %s to complete, but it always restarts", service.Name, name)
			}
		}
	}
}

func hasHealthCheck(service types.ServiceConfig) bool {
	check := service.HealthCheck
	return check != nil && !check.Disable && len(check.Test) > 0 && check.Test[0] != "NONE"
}

func checkFiles(project *types.Project, service types.ServiceConfig, report reporter) {
	exists := func(path, what string) {
		if _, err := os.Stat(path); err != nil {
			report("service %s: %s %s does not exist", service.Name, what, path)
		}
	}
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind {
			exists(volume.Source, "bind source")
		}
	}
	if build := service.Build; build != nil {
		exists(build.Context, "build context")
		if build.DockerfileInline == "" {
			dockerfile := build.Dockerfile
			if dockerfile == "" {
				dockerfile = "Dockerfile"
			}
			if !filepath.IsAbs(dockerfile) {
				dockerfile = filepath.Join(build.Context, dockerfile)
			}
			exists(dockerfile, "Dockerfile")
		}
	}
	for _, secret := range service.Secrets {
		if file := project.Secrets[secret.Source].File; file != "" {
			exists(file, "secret")
		}
	}
	for _, config := range service.Configs {
		if file := project.Configs[config.Source].File; file != "" {
			exists(file, "config")
		}
	}
}

// checkImage requires a version, so that two starts use the same image.
func checkImage(service types.ServiceConfig, report reporter) {
	if service.Image == "" {
		return
	}
	named, err := reference.ParseNormalizedNamed(service.Image)
	if err != nil {
		report("service %s: image %q: %v", service.Name, service.Image, err)
		return
	}
	tagged, hasTag := named.(reference.Tagged)
	_, hasDigest := named.(reference.Digested)
	if !hasDigest && (!hasTag || tagged.Tag() == "latest") {
		report("service %s: image %s has no version", service.Name, service.Image)
	}
}

func memoryLimit(service types.ServiceConfig) int64 {
	if service.MemLimit > 0 {
		return int64(service.MemLimit)
	}
	if service.Deploy != nil && service.Deploy.Resources.Limits != nil {
		return int64(service.Deploy.Resources.Limits.MemoryBytes)
	}
	return 0
}

// published is a range of ports that a service uses on the host.
type published struct {
	service     string
	address     string
	protocol    string
	first, last int
}

func (p published) overlaps(other published) bool {
	sameAddress := p.address == other.address || isAny(p.address) || isAny(other.address)
	return sameAddress && p.protocol == other.protocol && p.first <= other.last && other.first <= p.last
}

func (p published) String() string {
	ports := strconv.Itoa(p.first)
	if p.last != p.first {
		ports += "-" + strconv.Itoa(p.last)
	}
	return ports + "/" + p.protocol
}

func isAny(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err != nil || parsed.IsUnspecified()
}

func checkPorts(project *types.Project, report reporter) {
	var all []published
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		for _, port := range service.Ports {
			address, err := netip.ParseAddr(port.HostIP)
			if err != nil || !address.IsLoopback() {
				report("service %s publishes port %d on addresses other than loopback", name, port.Target)
			}
			if port.Published == "" {
				continue // the engine chooses a free port
			}
			use := published{service: name, address: port.HostIP, protocol: port.Protocol}
			if use.first, use.last, err = portRange(port.Published); err != nil {
				report("service %s: port %q: %v", name, port.Published, err)
				continue
			}
			if use.first == use.last && service.GetScale() > 1 {
				report("service %s: %d containers cannot all publish port %s", name, service.GetScale(), use)
			}
			for _, other := range all {
				if use.overlaps(other) {
					report("services %s and %s publish the same port of the host: %s and %s", other.service, name, other, use)
				}
			}
			all = append(all, use)
		}
		if service.NetworkMode == "host" && len(service.Ports) > 0 {
			report("service %s uses the host's network: its ports are ignored", name)
		}
	}
}

func portRange(text string) (first, last int, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if first, err = strconv.Atoi(from); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return first, first, nil
	}
	last, err = strconv.Atoi(to)
	return first, last, err
}
