# The sound without a format.
curl -sS -X POST https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions \
-H "Authorization: Bearer $DASHSCOPE_API_KEY" \
-H "Content-Type: application/json" \
-d '{
  "model": "qwen3-omni-flash",
  "messages": [
    {"role": "user", "content": [
      {"type": "input_audio", "input_audio": {"data": "https://help-static-aliyun-doc.aliyuncs.com/sound.wav"}},
      {"type": "text", "text": "What do you hear?"}
    ]},
    {"role": "assistant", "content": [{"type": "text", "text": "A tone."}]},
    {"role": "user", "content": [{"type": "text", "text": "How high?"}]}
  ],
  "stream": true,
  "stream_options": {"include_usage": true},
  "modalities": ["text"]
}'
