package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// load reads the files as one project, with the .env file in the folder of the first file and without the environment of this process.
// Warnings are faults. The project is nil if the files cannot be loaded.
func load(ctx context.Context, files []string) (*types.Project, []string) {
	warnings := &warnings{}
	logger := logrus.StandardLogger()
	hooks := logger.ReplaceHooks(logrus.LevelHooks{})
	output := logger.Out
	logger.AddHook(warnings)
	logger.SetOutput(io.Discard)
	defer func() {
		logger.ReplaceHooks(hooks)
		logger.SetOutput(output)
	}()

	options, err := cli.NewProjectOptions(files, cli.WithEnvFiles(), cli.WithDotEnv)
	if err != nil {
		return nil, append(warnings.messages, err.Error())
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return nil, append(warnings.messages, err.Error())
	}
	return project, warnings.messages
}

// warnings collects what the library logs.
type warnings struct {
	mutex    sync.Mutex
	messages []string
}

func (w *warnings) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

func (w *warnings) Fire(entry *logrus.Entry) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.messages = append(w.messages, fmt.Sprintf("%s: %s", entry.Level, entry.Message))
	return nil
}
