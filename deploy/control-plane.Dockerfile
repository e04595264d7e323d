# Control plane: TypeScript, run by the Node that the npm packages bring.
FROM node:24-bookworm-slim
WORKDIR /app
ENV ONNXRUNTIME_NODE_INSTALL=skip
COPY package.json package-lock.json .npmrc ./
COPY server-ts/package.json server-ts/
RUN npm install --no-save --omit=dev --no-audit --no-fund
COPY server-ts server-ts
COPY bin bin
COPY recipes recipes
COPY scorers scorers
COPY models models
# A fresh volume takes its owner from here.
RUN mkdir /data && chown node /data
USER node
CMD ["bin/star", "up", "--no-worker", "--data-dir", "/data"]
