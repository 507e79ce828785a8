package main

import (
	"context"
	"net"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func (d *decoder) serveGRPC(listener net.Listener, token string) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(func(
		ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
	) (any, error) {
		sent := metadata.ValueFromIncomingContext(ctx, "authorization")
		if token != "" && (len(sent) == 0 || sent[0] != "Bearer "+token) {
			return nil, status.Error(codes.Unauthenticated, "authentication failed")
		}
		return handle(ctx, req)
	}))
	ptraceotlp.RegisterGRPCServer(server, &traces{decoder: d})
	pmetricotlp.RegisterGRPCServer(server, &metrics{decoder: d})
	plogotlp.RegisterGRPCServer(server, &logs{decoder: d})
	return server.Serve(listener)
}

type traces struct {
	ptraceotlp.UnimplementedGRPCServer
	*decoder
}

func (t *traces) Export(ctx context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	_, err := t.otlp.ConsumeTracesWithResult(ctx, r.Traces())
	return ptraceotlp.NewExportResponse(), err
}

type metrics struct {
	pmetricotlp.UnimplementedGRPCServer
	*decoder
}

func (m *metrics) Export(ctx context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	_, err := m.otlp.ConsumeMetricsWithResult(ctx, r.Metrics())
	return pmetricotlp.NewExportResponse(), err
}

type logs struct {
	plogotlp.UnimplementedGRPCServer
	*decoder
}

func (l *logs) Export(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	_, err := l.otlp.ConsumeLogsWithResult(ctx, r.Logs())
	return plogotlp.NewExportResponse(), err
}
