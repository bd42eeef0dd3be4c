curl -sS -X POST https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions \
-H "Authorization: Bearer $DASHSCOPE_API_KEY" \
-H "Content-Type: application/json" \
-d '{
    "model": "qwen3-omni-flash",
    "messages": [{"role": "user", "content": "你是誰?"}],
    "stream": true,
    "stream_options": {"include_usage": true},
    "modalities": ["text", "audio"],
    "audio": {"voice": "Cherry", "format": "wav"}
}'
