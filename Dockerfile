# The gateway in a small image that runs as a user without rights.
#
#   docker build -t creditgate .
#   docker run -p 8080:8080 -v creditgate:/var/lib/creditgate -e CREDITGATE_ADMIN_TOKEN -e OPENAI_API_KEY creditgate
#
# There is no HEALTHCHECK here: ask /live and /ready on the admin listener, as docker-compose.yml does.

FROM rust:1.95-slim-bookworm AS build
# What scripts/dist makes load with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 redis-server util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && rustup component add llvm-tools
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY scripts/dist scripts/dist
COPY bench bench
COPY config config
COPY src src
# What was downloaded and compiled is kept for the next build; only the program leaves this step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    scripts/dist && cp target/optimized/creditgate /creditgate

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin creditgate \
    && install --directory --mode 0700 --owner creditgate --group creditgate /var/lib/creditgate
COPY --from=build /creditgate /usr/local/bin/creditgate
COPY config/gateway.toml /etc/creditgate/gateway.toml
COPY LICENSE /usr/share/doc/creditgate/LICENSE

# In a container, "this machine only" would mean nobody. Publish 8080; keep 8081 to those who may grant credits.
ENV CREDITGATE_LISTEN=0.0.0.0:8080 \
    CREDITGATE_ADMIN_LISTEN=0.0.0.0:8081 \
    CREDITGATE_LEDGER=sqlite:///var/lib/creditgate/creditgate.db
EXPOSE 8080 8081
# The ledger: the only state to back up.
VOLUME /var/lib/creditgate
WORKDIR /var/lib/creditgate
USER creditgate
ENTRYPOINT ["creditgate"]
CMD ["serve", "--config", "/etc/creditgate/gateway.toml"]
