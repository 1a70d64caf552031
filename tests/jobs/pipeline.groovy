// pipeline.groovy JENKINSFILE...: prints, as a JSON list, what each holds, read by the language that Jenkins reads it
// with: a list of statements [name, values, block or null], or a text that says what is no call and no assignment.
import groovy.json.JsonOutput
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.*
import org.codehaus.groovy.ast.stmt.*
import org.codehaus.groovy.control.CompilePhase

class Other extends Exception {
  Other(node) { super("line ${node.lineNumber}: found '${node.text}', expected a call or an assignment") }
}

def value(expression) {
  switch (expression) {
    case MapExpression:
      return expression.mapEntryExpressions.collectEntries { [it.keyExpression.text, value(it.valueExpression)] }
    case ConstantExpression: return expression.value
    case GStringExpression: return '"' + expression.text + '"'
    default: throw new Other(expression)
  }
}

def tree(BlockStatement block) {
  block.statements.collect { statement ->
    if (!(statement instanceof ExpressionStatement)) throw new Other(statement)
    def expression = statement.expression
    if (expression instanceof BinaryExpression && expression.operation.text == '=')
      return [expression.leftExpression.text, [value(expression.rightExpression)], null]
    if (!(expression instanceof MethodCallExpression) || !expression.implicitThis) throw new Other(expression)
    def arguments = expression.arguments.expressions
    def inner = arguments.find { it instanceof ClosureExpression }
    [expression.methodAsString, (arguments - inner).collect { value(it) }, inner == null ? null : tree(inner.code)]
  }
}

println JsonOutput.toJson(args.collect { name ->
  try {
    tree(new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, new File(name).text)[0])
  } catch (Other | org.codehaus.groovy.control.CompilationFailedException error) {
    error.message
  }
})
