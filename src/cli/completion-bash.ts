/**
 * The completion script for bash 3.2 and later. It does not need the package bash-completion and never evaluates typed
 * text. If `omniserve complete` suggests nothing, the shell completes file names.
 *
 * The script of `@bomb.sh/tab` is not used, because it evaluates the line (Tab after `"$(command)"` would run the
 * command) and does not complete file names.
 */
export const BASH_COMPLETION = String.raw`# bash completion for omniserve
_omniserve() {
  local line value current words
  # Not -r: a backslash before a blank keeps a word together, as it does for the shell.
  read -d '' -a words <<< "\${COMP_LINE:0:COMP_POINT}"
  [[ \${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=('')
  current=\${words[\${#words[@]} - 1]}
  # Bash treats the text after an equals sign as a separate word.
  current=\${current##*=}
  COMPREPLY=()
  while IFS= read -r line; do
    value=\${line%%$'\t'*}
    [[ $line != :* && $value == "$current"* ]] && COMPREPLY+=("$(printf %q "$value")")
  done < <(omniserve complete -- "\${words[@]:1}" 2> /dev/null)
}
complete -o default -F _omniserve omniserve`.replaceAll(String.raw`\${`, '${')
