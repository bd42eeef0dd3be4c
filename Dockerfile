# syntax=docker/dockerfile:1
# omniserve with the nano checkpoint; docs/deploy.md describes its use. testing/image-replay.ts runs these steps without
# a container engine. Debian, not Alpine: the numeric library requires glibc 2.34 or later.

FROM node:24-bookworm-slim AS build
# FFMPEG=none: an image without FFmpeg, and without audio and video input. The reason is in NOTICE.
ARG FFMPEG=bundled
# Otherwise node-av also downloads an ffmpeg command, which is not used.
ENV SKIP_FFMPEG=true
WORKDIR /omniserve
COPY package.json package-lock.json ./
COPY web/package.json web/
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY web web
RUN npm run build && npm prune --omit=dev --no-audit --no-fund
RUN if [ "$FFMPEG" = none ]; then rm -rf node_modules/node-av node_modules/@seydx; fi

FROM node:24-bookworm-slim
ARG FFMPEG=bundled
# With FFMPEG=none: --build-arg LICENCES="Apache-2.0 AND LGPL-3.0-or-later AND MIT"
ARG LICENCES="Apache-2.0 AND GPL-3.0-or-later AND LicenseRef-FDK-AAC AND LGPL-3.0-or-later AND MIT"
LABEL org.opencontainers.image.title="omniserve" \
      org.opencontainers.image.licenses="$LICENCES" \
      omniserve.ffmpeg="$FFMPEG"
ENV NODE_ENV=production \
    OMNISERVE_HOME=/data \
    OMNISERVE_HOST=0.0.0.0
WORKDIR /omniserve
COPY --from=build /omniserve/package.json ./
COPY --from=build /omniserve/node_modules node_modules
COPY --from=build /omniserve/dist dist
COPY --from=build /omniserve/web/dist web/dist
COPY models/nano models/nano
COPY models/silero-vad models/silero-vad
COPY LICENSE NOTICE THIRD-PARTY-NOTICES sbom.cdx.json ./
RUN ln -s /omniserve/dist/cli/main.js /usr/local/bin/omniserve \
    && chmod +x dist/cli/main.js \
    && mkdir /data \
    && chown node:node /data
USER node
VOLUME /data
EXPOSE 8000
# The start period covers the loading of a large checkpoint.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.OMNISERVE_PORT || 8000) + '/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
# Listening on all addresses requires a key: docker run -e OMNISERVE_API_KEY=...
ENTRYPOINT ["node", "/omniserve/dist/cli/main.js"]
CMD ["serve"]
